"""How transformers stores a family of models: what a file of layouts fills in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scratchgpt.models import heads


def nothing(*_):
    return {}


def as_it_is(value, *_):
    return value


@dataclass(frozen=True)
class Layout:
    """How transformers stores one family of models.

    A row of the table is (our name, their key, transposed). {i} is the layer, and our[{e}] is the e-th part of our
    tensor along its first axis, where they keep each expert apart. Rows of tensors that a model lacks are left out, so
    one table serves all of a family's models, tied or untied, with a head or without.
    """

    model_type: str  # config.json's model_type
    architecture: str  # the transformers class that reads it
    model: type  # our class: model(config, seed, dtype, device)
    config: type  # of our model's configuration, or of its backbone's if it is a head
    spec: Callable  # config -> {our name: (shape, init)}
    ours: dict  # what our config must say to be of this family
    table: tuple  # of rows
    fields: dict  # config.json key -> (our config's field, "moe.top_k" if it is in another, transformers' default)
    activation_key: str | None  # None for a model without an activation
    activations: dict  # config.json's activation -> ours; the first of a kind is the one written
    unsaid: dict = field(default_factory=dict)  # our config's field -> what it is when config.json alone is read
    also: Callable = nothing  # config, tokenizer or None -> what else config.json says; it is not read
    check: Callable = nothing  # config -> raises InputError when transformers has no such model
    task: str | None = None  # the HeadConfig's, where the model is a head
    mark: str | None = None  # a key that config.json must have, and others of the same model_type have not
    flat: Callable = as_it_is  # what config.json says -> the same without dictionaries in it
    settle: Callable = as_it_is  # our config's fields as config.json has them -> as we have them
    fit: Callable = as_it_is  # config, names of the stored tensors -> config, where config.json does not say it
    required: dict = field(default_factory=dict)  # config.json key -> the one value that our models compute
    tied: dict = field(default_factory=dict)  # their key -> our tensor that it repeats, if it has no row of its own
    buffers: str = r"(?!)"  # keys that old versions stored beside the parameters, without the prefix
    renamed: dict = field(default_factory=dict)  # ends of keys in old versions -> what they are now
    prefix: str = "transformer."  # a base model saved without its head has no prefix


def linear(ours, theirs):
    """The rows of a linear map or a layer norm, which has a weight and a bias."""
    return ((f"{ours}.weight", f"{theirs}.weight", False), (f"{ours}.bias", f"{theirs}.bias", False))


def headed(layout, architecture, task, table, ours=None, **more):
    """The Layout of an architecture that puts a head for a task on the model of another Layout."""
    return replace(
        layout, architecture=architecture, model=heads.MODELS[task], spec=heads.parameter_spec, ours=ours or {},
        task=task, table=table, fit=Layout.fit, **more,
    )  # fmt: skip
