"""Hugging Face directories in and out: config.json, model.safetensors and the tokenizer's files.

A `Layout` says how one family of models is stored: our model, a table of (our name, their key, transposed), and how
config.json maps to our config. Adding a family is adding a file of Layouts; nothing here knows a tensor's key.
"""

import json
import re
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path

import numpy as np

from scratchgpt import tokenizers
from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.files import FLOATS, TensorFile, as_float, read_json, write_tensors, write_text
from scratchgpt.interop import bert, deepseek, gpt2, llama, mixtral, t5, word2vec
from scratchgpt.interop.layout import Layout
from scratchgpt.models.heads import HeadConfig

__all__ = ["Layout", "load", "load_tokenizer", "save", "tensors"]

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PICKLED = "pytorch_model.bin"
MAX_SIZE = 2**24  # no vocabulary, context, depth or width comes near; config.json is refused beyond it
LAYOUTS = (
    *gpt2.LAYOUTS, *bert.LAYOUTS, *t5.LAYOUTS, *llama.LAYOUTS, *mixtral.LAYOUTS, *deepseek.LAYOUTS,
    *word2vec.LAYOUTS,
)  # fmt: skip
PROBLEMS = {  # config.json's problem_type -> ours
    "single_label_classification": "single", "multi_label_classification": "multi", "regression": "regression",
}  # fmt: skip


def tensors(model, grad=False):
    """{checkpoint key: NumPy array} of a model's weights, or of its gradient: copies, in the checkpoint's own layout
    (Conv1D weights (in, out)). A tied head has no key of its own: wte's gradient is the sum of both uses."""
    read = model.params.grad_of if grad else model.params.__getitem__
    return {
        theirs: np.array(to_host(part_of(read, ours)).T if transposed else to_host(part_of(read, ours)), order="C")
        for ours, theirs, transposed in key_table(layout_of(model.config), model.config)
    }


def part_of(read, ours):
    """read(name) of a tensor, or of "name[e]" its e-th part, a view."""
    name, _, part = ours.partition("[")
    return read(name)[int(part[:-1])] if part else read(name)


def layout_of(config):
    """The Layout that stores models of this config. Raises InputError when transformers has no such model."""
    kind, task = type(backbone_of(config)), getattr(config, "task", None)
    for layout in LAYOUTS:
        same = layout.config is kind and layout.task == task
        if same and all(attrgetter(name)(config) == says for name, says in layout.ours.items()):
            break
    else:
        raise InputError(f"transformers has no model like {config}")
    layout.check(config)
    if layout.activation_key and config.activation not in layout.activations.values():
        raise InputError(f"activation is {config.activation}: {layout.model_type} directories know only "
                         f"{' and '.join(set(layout.activations.values()))}; use that, or norm_first=True")  # fmt: skip
    return layout


def backbone_of(config):
    """The configuration under a head's, or config itself."""
    return config.backbone if isinstance(config, HeadConfig) else config


def key_table(layout, config):
    """[(our name, their key, transposed)] of a model: the layout's table written out for each of its tensors.

    Raises InputError when transformers' model has no place for one of them.
    """
    numbers = {}  # our name with {i} in the place of the layer -> [(layer, shape)]
    for name, (shape, _) in layout.spec(config).items():
        layer = re.search(r"\.(\d+)\.", name)
        template = name if layer is None else name.replace(layer[0], ".{i}.", 1)
        numbers.setdefault(template, []).append((layer and layer[1], shape))
    rows = []
    for ours, theirs, transposed in layout.table:
        name, _, part = ours.partition("[")
        for i, shape in numbers.get(name, ()):
            parts = range(shape[0]) if part else (0,)
            rows += [(ours.format(i=i, e=e), theirs.format(i=i, e=e), transposed) for e in parts]
    absent = numbers.keys() - {ours.partition("[")[0] for ours, _, _ in layout.table}
    if absent:
        raise InputError(f"transformers' {layout.architecture} has no place for {listed(sorted(absent))}")
    return rows


def save(model, directory, tokenizer=None):
    """Writes config.json, the tokenizer's files and model.safetensors, which transformers' AutoModel of the kind and
    AutoTokenizer read. Each file is whole or absent; the weights come last. Raises InputError when the tokenizer has
    more ids than the model, or transformers has no such model; OSError when the disk is full."""
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
    activation = [theirs for theirs, ours in layout.activations.items() if ours == config.activation]
    return {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        **{theirs: attrgetter(ours)(config) for theirs, (ours, _) in layout.fields.items()},
        **({layout.activation_key: activation[0]} if activation else {}),
        **layout.also(config, tokenizer),
        **(head_json(config) if layout.task else {}),
        "dtype": str(model.params.dtype),
        **layout.required,
    }


def head_json(config):
    """What config.json says of a head."""
    problem = next(theirs for theirs, ours in PROBLEMS.items() if ours == config.problem)
    if not config.labels:
        return {}
    return {
        "id2label": dict(enumerate(config.labels)),
        "label2id": {label: number for number, label in enumerate(config.labels)},
        **({"problem_type": problem} if config.task == "sentence" else {}),
    }


def load(directory, dtype=None, device="cpu"):
    """The model in a directory that scratchgpt or transformers' save_pretrained wrote, of a family in LAYOUTS.

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
    config = layout.fit(config, {stripped(layout, key) for file in files for key in file.entries})
    for file in files:
        config = check_metadata(file, layout, config)
    names = match_names(files, layout, config, directory)
    if dtype is None:
        codes = {file.entries[key].code for file in files for key in file.entries if stripped(layout, key) in names}
        dtype = "float64" if codes == {"F64"} else "float32"
    model = layout.model(config, seed=None, dtype=dtype, device=device)
    copy_tensors(files, layout, names, model)
    return model


def load_tokenizer(directory):
    """The tokenizer, BPE or WordPiece, in a directory that scratchgpt or transformers wrote."""
    return tokenizers.load(directory)


def read_config(path):
    """(Layout, our config) from a config.json."""
    values = read_json(path)
    layout = layout_for(values, path)
    values = layout.flat(values)
    for key, expected in (layout.required | {"quantization_config": None}).items():
        if values.get(key, expected) != expected:
            raise InputError(f"{path}: {key} is {values[key]!r}, which is not supported; expected {expected!r}")
    activation = {"activation": activation_of(layout, values)} if layout.activation_key else {}
    if None in activation.values():
        raise InputError(f"{path}: {layout.activation_key} is {values[layout.activation_key]!r}, which is not "
                         f"supported; expected {' or '.join(layout.activations)}")  # fmt: skip
    ours = layout.ours | layout.unsaid | activation
    for key, (name, default) in layout.fields.items():
        ours[name] = checked(path, key, values.get(key, default), default)
    try:
        config = layout.config(**layout.settle(ours))
        return layout, head_config(layout, config, values) if layout.task else config
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def layout_for(values, path):
    """The Layout of the model that a config.json describes: by model_type, activation and architectures, or, where it
    names an architecture that has no Layout or none, the first of that model_type (that knows the activation)."""
    marked = [layout for layout in LAYOUTS if layout.mark is None or layout.mark in values]
    alike = [layout for layout in marked if layout.model_type == values.get("model_type")]
    if not alike:
        known = " or ".join(dict.fromkeys(layout.model_type for layout in LAYOUTS))
        raise InputError(f"{path}: model_type is {values.get('model_type')!r}; expected {known}")
    alike = [layout for layout in alike if activation_of(layout, values)] or alike
    named = values.get("architectures")
    return next((layout for layout in alike if isinstance(named, list) and layout.architecture in named), alike[0])


def activation_of(layout, values):
    """Our name of the activation in a config.json, or None where models of this Layout have no such one."""
    default = next(iter(layout.activations), None)
    return layout.activations.get(str(values.get(layout.activation_key, default)))


def head_config(layout, backbone, values):
    """The HeadConfig of a config.json whose backbone has been read."""
    if layout.task not in ("sentence", "tag"):
        return HeadConfig(backbone, layout.task)
    names = values.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # transformers does not write what is its default
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise InputError(f"id2label is {names!r}; expected a name for each of 0, 1, 2, ...")
    labels = tuple(str(names[str(number)]) for number in range(len(names)))
    theirs = values.get("problem_type")
    problem = PROBLEMS.get(theirs, "regression" if len(labels) == 1 else "single")
    if theirs is not None and theirs not in PROBLEMS:
        raise InputError(f"problem_type is {theirs!r}; expected {', '.join(PROBLEMS)} or null")
    return HeadConfig(backbone, layout.task, labels, problem if layout.task == "sentence" else "single")


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


def check_metadata(file, layout, config):
    """Compares config.json with the config that we wrote beside the weights, where there is one: a changed n_head would
    fit every shape. Returns the config with what config.json cannot say."""
    if "config" not in file.metadata:
        return config
    if "sha256" not in file.metadata:
        raise InputError(f"{file.path}: the SHA-256 that was written with it is gone: the file was damaged; "
                         "use another copy or an earlier checkpoint")  # fmt: skip
    try:
        written = config_like(config, json.loads(file.metadata["config"]))
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{file.path}: the config in its metadata cannot be read: the file was damaged") from None
    found = said(config)
    for name, value in said(written).items():
        if name not in ("dropout", "lm_weight", *layout.unsaid) and found[name] != value:
            raise InputError(f"{file.path} was written for {name} {value}; {CONFIG} beside it says {found[name]}")
    unsaid = {name: getattr(written, name) for name in layout.unsaid}
    if isinstance(config, HeadConfig):
        return replace(config, backbone=replace(config.backbone, **unsaid), lm_weight=written.lm_weight)
    return replace(config, **unsaid)


def config_like(config, values):
    """A configuration of config's kind, from what JSON keeps of one."""
    if isinstance(config, HeadConfig):
        values = values | {"backbone": config_like(config.backbone, values["backbone"])}
    return type(config)(**values)


def said(config):
    """{field: value} of a configuration, and of the backbone in it."""
    values = asdict(config)
    return values | values.pop("backbone", {})


def stripped(layout, key):
    """A stored tensor's name without the prefix, as it is called today."""
    for old, new in layout.renamed.items():
        if key.endswith(old):
            key = key.removesuffix(old) + new
    return key.removeprefix(layout.prefix)


def match_names(files, layout, config, directory):
    """{their key without prefix: (our name, transposed, whether it only repeats that tensor)}, after comparing names,
    shapes and dtypes with the config."""
    stored = {}
    for file in files:
        for key, entry in file.entries.items():
            name = stripped(layout, key)
            if name in stored:
                raise InputError(f"{file.path}: {key} is stored twice, with and without {layout.prefix!r}")
            if not re.fullmatch(layout.buffers, name):
                stored[name] = entry
    where = files[0].path if len(files) == 1 else directory / INDEX
    depth = max(getattr(config, name, 0) for name in ("n_layer", "decoder_layers"))
    if depth > len(stored):  # before building a table of that many layers
        raise InputError(f"{where}: {CONFIG} says n_layer {depth}; there are only {len(stored)} tensors")
    spec = layout.spec(config)
    names = {stripped(layout, theirs): (ours, transposed, False)
             for ours, theirs, transposed in key_table(layout, config)}  # fmt: skip
    places = {ours: name for name, (ours, _, _) in names.items()}
    for theirs, ours in layout.tied.items():
        if theirs in stored and theirs not in names and ours in places:
            names[theirs] = ours, False, True
            if places[ours] not in stored:  # of tensors that are one, any may have been written
                del names[places[ours]]
                names[theirs], places[ours] = (ours, False, False), theirs
    missing = sorted(names.keys() - stored.keys())
    unexpected = sorted(stored.keys() - names.keys())
    if missing or unexpected:
        found = {"missing": missing, "unexpected": unexpected}
        problems = "; ".join(f"{kind}: {listed(keys)}" for kind, keys in found.items() if keys)
        raise InputError(f"{where} does not hold the tensors of this {layout.model_type} model; {problems}")
    for name, (ours, transposed, _) in names.items():
        ours, _, part = ours.partition("[")
        shape, entry = spec[ours][0][1:] if part else spec[ours][0], stored[name]
        shape = shape[::-1] if transposed else shape
        if entry.shape != shape:
            raise InputError(f"{where}: {name} has shape {list(entry.shape)}; {CONFIG} makes it {list(shape)}")
        if entry.code not in FLOATS:
            raise InputError(f"{where}: {name} has dtype {entry.code}; expected {', '.join(FLOATS)}")
    return names


def copy_tensors(files, layout, names, model):
    """Reads every tensor into the model. A stored copy of a tied tensor must equal it."""
    copies = []
    for file in files:
        for key, entry, array in file.read():
            name = stripped(layout, key)
            if name not in names:
                continue
            ours, transposed, copied = names[name]
            target = part_of(model.params.__getitem__, ours)
            array = as_float(entry.code, array).astype(target.dtype)
            if copied:
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
