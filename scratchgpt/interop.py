"""Hugging Face directories in and out: config.json, model.safetensors and the tokenizer's files.

A `Layout` says how one family of models is stored: our model, a table of (our name, their key, transposed), and how
config.json maps to our config. Adding a family is adding a Layout; nothing else here knows a tensor's key.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.files import FLOATS, TensorFile, as_float, read_json, write_tensors, write_text
from scratchgpt.models.gpt import GPT, GPTConfig, parameter_spec
from scratchgpt.tokenizers import BPETokenizer
from scratchgpt.tokenizers.formats import END_OF_TEXT

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PICKLED = "pytorch_model.bin"
MAX_SIZE = 2**24  # no vocabulary, context, depth or width comes near; config.json is refused beyond it


@dataclass(frozen=True)
class Layout:
    """How transformers stores one family of models."""

    model_type: str  # config.json's model_type
    architecture: str  # the transformers class that reads it
    model: type  # our class: model(config, seed, dtype, device)
    config: type  # of our model's configuration
    spec: Callable  # config -> {our name: (shape, init)}
    ours: dict  # what our config must say to be of this family
    table: tuple  # (our name, their key, transposed); {i} is the layer
    fields: dict  # config.json key -> (our config's field, transformers' default)
    activation_key: str
    activations: dict  # config.json's activation -> ours; the first of a kind is the one written
    required: dict = field(default_factory=dict)  # config.json key -> the one value that our models compute
    tied: dict = field(default_factory=dict)  # their key -> our tensor that it is, if config.tied_head
    buffers: str = r"(?!)"  # keys that old versions stored beside the parameters, without the prefix
    prefix: str = "transformer."  # a base model saved without its head has no prefix


BLOCK = (  # transformers' Conv1D keeps (in, out), so weights of linear maps are transposed
    ("blocks.{i}.ln1.weight", "transformer.h.{i}.ln_1.weight", False),
    ("blocks.{i}.ln1.bias", "transformer.h.{i}.ln_1.bias", False),
    ("blocks.{i}.attn.qkv.weight", "transformer.h.{i}.attn.c_attn.weight", True),
    ("blocks.{i}.attn.qkv.bias", "transformer.h.{i}.attn.c_attn.bias", False),
    ("blocks.{i}.attn.out.weight", "transformer.h.{i}.attn.c_proj.weight", True),
    ("blocks.{i}.attn.out.bias", "transformer.h.{i}.attn.c_proj.bias", False),
    ("blocks.{i}.ln2.weight", "transformer.h.{i}.ln_2.weight", False),
    ("blocks.{i}.ln2.bias", "transformer.h.{i}.ln_2.bias", False),
    ("blocks.{i}.mlp.up.weight", "transformer.h.{i}.mlp.c_fc.weight", True),
    ("blocks.{i}.mlp.up.bias", "transformer.h.{i}.mlp.c_fc.bias", False),
    ("blocks.{i}.mlp.down.weight", "transformer.h.{i}.mlp.c_proj.weight", True),
    ("blocks.{i}.mlp.down.bias", "transformer.h.{i}.mlp.c_proj.bias", False),
)
FIELDS = {
    "vocab_size": ("vocab_size", 50257), "n_positions": ("n_ctx", 1024), "n_layer": ("n_layer", 12),
    "n_head": ("n_head", 12), "n_embd": ("n_embd", 768), "layer_norm_epsilon": ("layer_norm_eps", 1e-5),
    "resid_pdrop": ("dropout", 0.1), "tie_word_embeddings": ("tied_head", True),
}  # fmt: skip

GPT2 = Layout(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    model=GPT,
    config=GPTConfig,
    spec=parameter_spec,
    ours={"norm_first": True},
    table=(
        ("wte", "transformer.wte.weight", False),
        ("wpe", "transformer.wpe.weight", False),
        *BLOCK,
        ("ln_f.weight", "transformer.ln_f.weight", False),
        ("ln_f.bias", "transformer.ln_f.bias", False),
        ("head.weight", "lm_head.weight", False),
    ),
    fields=FIELDS | {"n_inner": ("n_inner", None)},
    activation_key="activation_function",
    activations={
        "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh",
        "gelu_fast": "gelu_tanh", "gelu_accurate": "gelu_tanh", "gelu": "gelu", "gelu_python": "gelu",
    },
    required={
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    },
    tied={"lm_head.weight": "wte"},
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
)  # fmt: skip
OPENAI_GPT = Layout(
    model_type="openai-gpt",
    architecture="OpenAIGPTLMHeadModel",
    model=GPT,
    config=GPTConfig,
    spec=parameter_spec,
    ours={"norm_first": False, "n_inner": None},
    table=(
        ("wte", "transformer.tokens_embed.weight", False),
        ("wpe", "transformer.positions_embed.weight", False),
        *BLOCK,
        ("head.weight", "lm_head.weight", False),
    ),
    fields=FIELDS | {"vocab_size": ("vocab_size", 40478), "n_positions": ("n_ctx", 512)},
    activation_key="afn",
    activations={"gelu": "gelu_tanh"},  # this family's "gelu" is the tanh one
    tied={"lm_head.weight": "wte"},
    buffers=r"h\.\d+\.attn\.bias|position_ids",
)
LAYOUTS = (GPT2, OPENAI_GPT)


def tensors(model, grad=False):
    """{checkpoint key: NumPy array} of a model's weights, or of its gradient: copies, in the checkpoint's own layout
    (Conv1D weights (in, out)). A tied head has no key of its own: wte's gradient is the sum of both uses."""
    read = model.params.grad_of if grad else model.params.__getitem__
    return {
        theirs: np.array(to_host(read(ours)).T if transposed else to_host(read(ours)), order="C")
        for ours, theirs, transposed in key_table(layout_of(model.config), model.config)
    }


def layout_of(config):
    """The Layout that stores models of this config. Raises InputError when transformers has no such model."""
    layout = next(
        layout for layout in LAYOUTS if layout.config is type(config) and layout.ours["norm_first"] == config.norm_first
    )
    inner_is_free = "n_inner" not in layout.ours or config.inner == 4 * config.n_embd
    if not inner_is_free:
        raise InputError(f"n_inner is {config.n_inner}: {layout.model_type} directories have n_inner 4 n_embd = "
                         f"{4 * config.n_embd}; use that, or norm_first=True")  # fmt: skip
    if config.activation not in layout.activations.values():
        raise InputError(f"activation is {config.activation}: {layout.model_type} directories know only "
                         f"{' and '.join(set(layout.activations.values()))}; use that, or norm_first=True")  # fmt: skip
    return layout


def key_table(layout, config):
    """[(our name, their key, transposed)] of a model: the layout's table written out for each layer."""
    rows = []
    for ours, theirs, transposed in layout.table:
        if config.tied_head and theirs in layout.tied:
            continue
        layers = range(config.n_layer) if "{i}" in ours else (0,)
        rows += [(ours.format(i=i), theirs.format(i=i), transposed) for i in layers]
    return rows


def save(model, directory, tokenizer=None):
    """Writes config.json, the tokenizer's files and model.safetensors, which AutoModelForCausalLM and AutoTokenizer
    read. Each file is whole or absent; the weights come last. Raises InputError when the tokenizer has more ids than
    the model, or transformers has no such model; OSError when the disk is full."""
    config, directory = model.config, Path(directory)
    layout = layout_of(config)
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise InputError(f"the tokenizer has {tokenizer.vocab_size} ids, the model's vocab_size is "
                         f"{config.vocab_size}; save a model with the tokenizer it was trained with")  # fmt: skip
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; expected a directory to write the model into")
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / CONFIG, json.dumps(config_json(model, layout, tokenizer), indent=2) + "\n")
    if tokenizer is not None:
        tokenizer.save(directory)
    metadata = {"format": "pt", "config": json.dumps(asdict(config))}
    write_tensors(directory / WEIGHTS, tensors(model), metadata)


def config_json(model, layout, tokenizer=None):
    """What config.json says of a model."""
    config = model.config
    activation = next(theirs for theirs, ours in layout.activations.items() if ours == config.activation)
    end_of_text = None if tokenizer is None else tokenizer.special_tokens.get(END_OF_TEXT)
    return {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        **{theirs: getattr(config, ours) for theirs, (ours, _) in layout.fields.items()},
        layout.activation_key: activation,
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,  # our blocks drop nothing inside attention
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "initializer_range": 0.02,
        "dtype": str(model.params.dtype),
        **layout.required,
    }


def load(directory, dtype=None, device="cpu"):
    """The GPT in a directory that scratchgpt or transformers' save_pretrained (GPT-2, OpenAI-GPT) wrote.

    dtype: of the weights; None: float64 if the file's are, else float32 (float16 and bfloat16 become float32).
    The residual dropout becomes the model's; dropout inside attention, which our blocks do not have, is left out.
    Raises InputError, naming the file, when anything is missing, damaged, inconsistent or not supported; nothing of a
    size that a file merely claims is allocated.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; expected one with {CONFIG} and {WEIGHTS}")
    layout, config = read_config(directory / CONFIG)
    files = open_weights(directory)
    for file in files:
        config = check_metadata(file, config)
    names = match_names(files, layout, config, directory)
    if dtype is None:
        codes = {file.entries[key].code for file in files for key in file.entries if stripped(layout, key) in names}
        dtype = "float64" if codes == {"F64"} else "float32"
    model = layout.model(config, seed=None, dtype=dtype, device=device)
    copy_tensors(files, layout, names, model)
    return model


def load_tokenizer(directory):
    """The BPETokenizer in a directory that scratchgpt or transformers wrote."""
    return BPETokenizer.load(directory)


def read_config(path):
    """(Layout, our config) from a config.json."""
    values = read_json(path)
    layout = next((layout for layout in LAYOUTS if layout.model_type == values.get("model_type")), None)
    if layout is None:
        known = " or ".join(layout.model_type for layout in LAYOUTS)
        raise InputError(f"{path}: model_type is {values.get('model_type')!r}; expected {known}")
    for key, expected in (layout.required | {"quantization_config": None}).items():
        if values.get(key, expected) != expected:
            raise InputError(f"{path}: {key} is {values[key]!r}, which is not supported; expected {expected!r}")
    default = next(iter(layout.activations))
    activation = layout.activations.get(str(values.get(layout.activation_key, default)))
    if activation is None:
        raise InputError(f"{path}: {layout.activation_key} is {values[layout.activation_key]!r}, which is not "
                         f"supported; expected {' or '.join(layout.activations)}")  # fmt: skip
    ours = layout.ours | {"activation": activation, "init": "gpt2"}
    for key, (name, default) in layout.fields.items():
        ours[name] = checked(path, key, values.get(key, default), default)
    try:
        return layout, layout.config(**ours)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def checked(path, key, value, default):
    """value, if config.json may say it where transformers' default is `default`."""
    kinds = {bool: bool, int: int, float: (int, float), type(None): (int, type(None))}[type(default)]
    wrong = not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool))
    if wrong or not (value is None or 0 <= value < MAX_SIZE):
        raise InputError(f"{path}: {key} is {value!r}; expected something like {768 if default is None else default}")
    return value


def open_weights(directory):
    """[TensorFile] of a directory: model.safetensors, or the shards that its index names."""
    if (directory / WEIGHTS).exists():
        return [TensorFile(directory / WEIGHTS)]
    if not (directory / INDEX).exists():
        advice = (f"; it has {PICKLED}, which can run code when it is read: save the model as safetensors "
                  "(transformers: model.save_pretrained)") if (directory / PICKLED).exists() else ""  # fmt: skip
        raise InputError(f"{directory / WEIGHTS} does not exist{advice}")
    weight_map = read_json(directory / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in weight_map.values()
    ):
        raise InputError(f"{directory / INDEX}: weight_map does not map names to files of this directory")
    files = [TensorFile(directory / name) for name in sorted(set(weight_map.values()))]
    stored = {key: file.path.name for file in files for key in file.entries}
    if stored != weight_map:
        wrong = sorted(key for key in stored.keys() | weight_map.keys() if stored.get(key) != weight_map.get(key))
        raise InputError(f"{directory / INDEX}: the shards do not hold what it says; see {listed(wrong)}")
    return files


def check_metadata(file, config):
    """Compares config.json with the config that we wrote beside the weights, where there is one: a changed n_head would
    fit every shape. Returns the config with what config.json cannot say."""
    if "config" not in file.metadata:
        return config
    if "sha256" not in file.metadata:
        raise InputError(f"{file.path}: the SHA-256 that was written with it is gone: the file was damaged; "
                         "use another copy or an earlier checkpoint")  # fmt: skip
    try:
        written = type(config)(**json.loads(file.metadata["config"]))
    except (ValueError, TypeError):
        raise InputError(f"{file.path}: the config in its metadata cannot be read: the file was damaged") from None
    for name, value in asdict(written).items():
        ours = getattr(config, name)
        if name not in ("dropout", "init", "n_inner") and ours != value:
            raise InputError(f"{file.path} was written for {name} {value}; {CONFIG} beside it says {ours}")
    return replace(config, init=written.init, n_inner=written.n_inner)


def stripped(layout, key):
    return key.removeprefix(layout.prefix)


def match_names(files, layout, config, directory):
    """{their key without prefix: (our name, transposed)}, after comparing names, shapes and dtypes with the config."""
    stored = {}
    for file in files:
        for key, entry in file.entries.items():
            name = stripped(layout, key)
            if name in stored:
                raise InputError(f"{file.path}: {key} is stored twice, with and without {layout.prefix!r}")
            if not re.fullmatch(layout.buffers, name):
                stored[name] = entry
    where = files[0].path if len(files) == 1 else directory / INDEX
    if config.n_layer > len(stored):  # before building a table of that many layers
        raise InputError(f"{where}: {CONFIG} says n_layer {config.n_layer}; there are only {len(stored)} tensors")
    rows = key_table(layout, config)
    names = {stripped(layout, theirs): (ours, transposed) for ours, theirs, transposed in rows}
    if config.tied_head:  # a stored copy: compared when it is read
        names |= {theirs: (ours, False) for theirs, ours in layout.tied.items() if theirs in stored}
    missing = sorted(names.keys() - stored.keys())
    unexpected = sorted(stored.keys() - names.keys())
    if missing or unexpected:
        found = {"missing": missing, "unexpected": unexpected}
        problems = "; ".join(f"{kind}: {listed(keys)}" for kind, keys in found.items() if keys)
        raise InputError(f"{where} does not hold the tensors of this {layout.model_type} model; {problems}")
    spec = layout.spec(config)
    for name, (ours, transposed) in names.items():
        shape, entry = spec[ours][0], stored[name]
        shape = shape[::-1] if transposed else shape
        if entry.shape != shape:
            raise InputError(f"{where}: {name} has shape {list(entry.shape)}; {CONFIG} makes it {list(shape)}")
        if entry.code not in FLOATS:
            raise InputError(f"{where}: {name} has dtype {entry.code}; expected {', '.join(FLOATS)}")
    return names


def copy_tensors(files, layout, names, model):
    """Reads every tensor into the model. A stored copy of a tied tensor must equal it."""
    tied, copies = layout.tied if model.config.tied_head else {}, []
    for file in files:
        for key, entry, array in file.read():
            name = stripped(layout, key)
            if name not in names:
                continue
            ours, transposed = names[name]
            target = model.params[ours]
            array = as_float(entry.code, array).astype(target.dtype)
            if name in tied:
                copies.append((name, ours, array))
            else:
                target[...] = model.xp.asarray(array.T if transposed else array)
    for name, ours, array in copies:
        if not np.array_equal(array, to_host(model.params[ours])):
            raise InputError(f"{files[0].path}: {name} differs from the embedding, but {CONFIG} says "
                             "tie_word_embeddings; set it to false to load both")  # fmt: skip


def listed(names, most=4):
    """A few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
