"""How transformers stores a family of models: what a file of layouts fills in."""

from collections.abc import Callable
from dataclasses import dataclass, field


def nothing(*_):
    return {}


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
    config: type  # of our model's configuration
    spec: Callable  # config -> {our name: (shape, init)}
    ours: dict  # what our config must say to be of this family
    table: tuple  # of rows
    fields: dict  # config.json key -> (our config's field, transformers' default)
    activation_key: str
    activations: dict  # config.json's activation -> ours; the first of a kind is the one written
    unsaid: dict = field(default_factory=dict)  # our config's field -> what it is when config.json alone is read
    also: Callable = nothing  # config, tokenizer or None -> what else config.json says; it is not read
    check: Callable = nothing  # config -> raises InputError when transformers has no such model
    required: dict = field(default_factory=dict)  # config.json key -> the one value that our models compute
    tied: dict = field(default_factory=dict)  # their key -> our tensor that it repeats, if it has no row of its own
    buffers: str = r"(?!)"  # keys that old versions stored beside the parameters, without the prefix
    prefix: str = "transformer."  # a base model saved without its head has no prefix
