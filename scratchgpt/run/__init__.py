"""A run of `scratchgpt train`: from a data file to a Trainer, fresh or resumed."""

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from scratchgpt import interop
from scratchgpt.backend import available_cores, get_module, machine_memory
from scratchgpt.checkpoint import load_state
from scratchgpt.data import EMBEDDED, load_text
from scratchgpt.data.corrupted import OBJECTIVES
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import PRESETS
from scratchgpt.models.moe import BALANCE
from scratchgpt.run.families import FAMILIES, SHAPE
from scratchgpt.train import TrainConfig, Trainer, option, options_of, refuse_other_run

DTYPES = ("float32", "float64")
MASKED = ("bert", "roberta", "spanbert")
TEXTS = ("gpt", *MASKED, "t5")  # the families that read tokens in their order
MAY_CHANGE = (  # when a run is resumed; the data may have moved: the Trainer checks that the text is the same
    "data", "steps", "threads", "checkpoint_every", "eval_every", "log_every", "device",
)  # fmt: skip
ID_BYTES = 16  # a token id of a step, and the copy of it that goes to a shard


@dataclass(frozen=True)
class RunConfig(TrainConfig):
    """Everything `scratchgpt train` decides: the data, the model, and how it is trained. `of` says which families have
    a use for an option, where not all have. The defaults are the GPT's; those of the others are in their Family."""

    data: str = option("plays", "data", "a UTF-8 text file, plays (Shakespeare's) or addresses (State of the Union); "
                       "its last tenth is held out")  # fmt: skip
    out: str | None = option(None, "data", "directory of the run (default: runs/, the data's name and the model's)")
    tokenizer: str | None = option(None, "data", "directory of a trained tokenizer (default: train one on the data)")
    vocab_size: int = option(2048, "data", "tokens of the tokenizer that is trained on the data, 257 or more", of=TEXTS)
    model: str = option("gpt", "model", "the family, and so what it is trained to say", choices=tuple(FAMILIES))
    min_count: int = option(5, "data", "how often a word occurs at least to be in the vocabulary", of=("word2vec",))
    preset: str | None = option(None, "model", "shape of a published model; the vocabulary is still the tokenizer's",
                                choices=tuple(PRESETS), of=("gpt",))  # fmt: skip
    n_layer: int = option(4, "model", "blocks", of=TEXTS)
    n_head: int = option(2, "model", "attention heads; they share n_embd equally", of=TEXTS)
    n_embd: int = option(128, "model", "width of the residual stream; of a word2vec, of a vector")
    n_ctx: int = option(128, "model", "context: the most tokens the model sees at once", of=TEXTS)
    dropout: float = option(0.0, "model", "probability of zeroing a number of the embedding or of a residual branch",
                            of=TEXTS)  # fmt: skip
    init: str = option("he", "model", "first weights: He et al. 2015, or 0.02 as GPT-2 and BERT",
                       choices=("he", "gpt2", "bert"), of=("gpt", *MASKED))  # fmt: skip
    masks: int | None = option(None, "model", "masks of each row that take turns, epoch by epoch; 1 is a static mask "
                               "(default: a new one each epoch)", of=("roberta",))  # fmt: skip
    objective: str = option("span", "model", "what the decoder says: hidden spans, or how a text goes on",
                            choices=OBJECTIVES, of=("t5",))  # fmt: skip
    window: int = option(5, "model", "how far apart a word and its context may be", of=("word2vec",))
    negatives: int = option(5, "model", "words drawn at random for each pair of a word and its context",
                            of=("word2vec",))  # fmt: skip
    subsample: float = option(1e-3, "model", "the share of the text above which a word is frequent, and sometimes left "
                              "out; 0: never", of=("word2vec",))  # fmt: skip
    moe_experts: int = option(0, "model", "experts of the mixture that stands for each feed-forward; 0: no mixture",
                              of=("gpt",))  # fmt: skip
    moe_top_k: int = option(2, "model", "experts that each token goes to; a token costs what it costs without experts",
                            of=("gpt",))  # fmt: skip
    moe_shared: int = option(0, "model", "experts that every token goes to besides", of=("gpt",))
    moe_scores: str = option("softmax", "model", "the router: softmax, whose load is balanced by a loss (Mixtral), or "
                             "sigmoid, by a bias that is moved (DeepSeek-V3)", choices=tuple(BALANCE),
                             of=("gpt",))  # fmt: skip
    moe_balance: float | None = option(None, "model", "weight of that loss, or how far a bias moves per update; 0: not "
                                       "balanced (default: 0.01 for softmax, 0.001 for sigmoid)",
                                       of=("gpt",))  # fmt: skip
    dtype: str = option("float32", "run", "type of weights and arithmetic", choices=DTYPES)
    device: str = option("cpu", "run", "where to compute: NumPy, or CuPy on a GPU", choices=("cpu", "cuda"))

    def __post_init__(self):
        super().__post_init__()
        for name in ("data", "out", "tokenizer"):
            if getattr(self, name) == "":
                raise InputError(f"{name} is empty; expected a path (is a shell variable unset?)")
        if self.masks is not None and self.masks < 1:
            raise InputError(f"masks is {self.masks}; expected 1 or more, or none for a new one each epoch")
        for each in options_of(RunConfig):
            choices, value = each.metadata.get("choices"), getattr(self, each.name)
            if choices and value not in (*choices, each.default):
                raise InputError(f"{each.name} is {value!r}; expected one of {', '.join(choices)}")

    @property
    def family(self):
        return FAMILIES[self.model]

    @property
    def directory(self):
        ending = "" if self.model == "gpt" else f"-{self.model}"
        return Path(self.out) if self.out else Path("runs") / f"{Path(self.data).stem}{ending}"


def config_from(given):
    """RunConfig from the options given {name: value}: what is not given comes from the preset, then the family's
    defaults. Raises InputError for an option that the model has no use for."""
    model = given.get("model", "gpt")
    for each in fields(RunConfig):
        users = each.metadata.get("of", FAMILIES)
        if each.name in given and model in FAMILIES and model not in users:
            raise InputError(f"--{each.name.replace('_', '-')} is for --model {' or '.join(users)}; {model} has no use "
                             "for it: leave it out")  # fmt: skip
    defaults = FAMILIES[model].defaults if model in FAMILIES else {}
    preset = PRESETS[given["preset"]] if given.get("preset") else None
    moe = [name for name in given if name.startswith("moe_")]
    if moe and not given.get("moe_experts"):
        raise InputError(f"--{moe[0].replace('_', '-')} is about a mixture of experts; give --moe-experts N too")
    return RunConfig(**defaults | ({name: getattr(preset, name) for name in SHAPE} if preset else {}) | given)


def start(config, force=False, quiet=False):
    """A Trainer for a fresh run. Everything is checked before anything is written; raises InputError."""
    if not force:
        refuse_other_run(config.directory)
    check_can_be_made(config.directory)
    get_module(config.device)
    family = config.family
    check_memory(family.shape(config, config.vocab_size, {}), config)  # before a tokenizer is trained
    train_text, val_text = family.split(load_text(config.data))
    if config.tokenizer:
        tokenizer = interop.load_tokenizer(config.tokenizer)
    else:
        tokenizer = family.train_tokenizer(train_text, config)
    shape = family.shape(config, tokenizer.vocab_size, tokenizer.special_tokens)
    check_memory(shape, config)
    return build(config, shape, tokenizer, train_text, val_text, force=force, quiet=quiet)


def resume(directory, given, quiet=False):
    """A Trainer that continues the run in `directory`; given: options {name: value} that the command line repeats or
    changes. Raises InputError when there is no sound checkpoint, or an option would change what was trained."""
    state = load_state(directory)
    saved = state.record.get("run")
    if saved is None:
        raise InputError(f"{state.path} was written from Python; resume it there: Trainer(..., resume=load_state(DIR))")
    saved = RunConfig(**saved)
    directory = state.path.parent
    for name, value in given.items():
        has = str(directory) if name == "out" else getattr(saved, name)
        if name not in MAY_CHANGE and not same_option(name, value, has):
            raise InputError(
                f"--{name.replace('_', '-')} is {value}, but the run in {directory} has {has}; "
                "leave the option out to resume, or start another run with another --out"
            )
    if given.get("steps", saved.steps) < state.step:
        raise InputError(f"--steps is {given['steps']}, but the run in {directory} is already at step {state.step}")
    config = replace(saved, **{name: given[name] for name in MAY_CHANGE if name in given}, out=str(directory))
    shape = config.family.shape_type(**state.record["model"])
    check_same_model(directory, shape, state)
    get_module(config.device)
    train_text, val_text = config.family.split(load_text(config.data))
    tokenizer = interop.load_tokenizer(directory)
    return build(config, shape, tokenizer, train_text, val_text, resume=state, quiet=quiet)


def same_option(name, value, saved):
    """Whether an option says what the run has: files and directories may be written in several ways."""
    if name == "out":
        return Path(value).resolve() == Path(saved).resolve()
    return value == saved


def whole_name(data):
    """What a run keeps of its --data: the absolute path, or the name of an embedded corpus."""
    return data if data in EMBEDDED else str(Path(data).resolve())


def build(config, shape, tokenizer, train_text, val_text, **options):
    family = config.family
    data = family.dataset(train_text, val_text, tokenizer, shape, config)
    seed = None if options.get("resume") else config.seed
    model = family.model(shape, seed=seed, dtype=config.dtype, device=config.device)
    record = {"run": asdict(replace(config, data=whole_name(config.data)))}
    return Trainer(model, tokenizer, config=config, data=data, out=config.directory, record=record, **options)


def check_memory(shape, config):
    """Raises InputError when a run cannot fit this machine: weights, m and v, a gradient per thread, one row's
    activations per thread and the ids of a step already exceed its memory."""
    present = machine_memory()
    if config.device != "cpu" or present is None:
        return
    number = 8 if config.dtype == "float64" else 4
    threads = min(config.threads or available_cores(), config.batch_size)
    sizes = config.family.sizes
    state = sum(sizes.count_parameters(shape).values()) * number * (3 + threads)
    rows = config.batch_size * config.accumulate
    T = getattr(shape, "n_ctx", 1)  # a word2vec's row is one pair
    needed = state + threads * sizes.activation_bytes(shape, T, number) + rows * (T + 1) * ID_BYTES
    if needed > present:
        raise InputError(
            f"this run takes at least {needed / 2**30:,.0f} GiB, {state / 2**30:,.0f} of them for weights, gradients "
            f"and optimizer; this machine has {present / 2**30:,.0f} GiB; make the model, n_ctx or batch_size smaller"
        )


def check_can_be_made(directory):
    """Raises InputError when the run's directory could not be created or written, without creating it."""
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise InputError(f"{directory} cannot be a directory: {existing} is a file; give another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{directory} cannot be written: no permission to write in {existing}; give another --out")


def check_same_model(directory, shape, state):
    """Raises InputError when config.json beside the state describes another model."""
    if not (directory / interop.CONFIG).exists():
        return
    _, other = interop.read_config(directory / interop.CONFIG)
    for name in ("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd", "norm_first", "tied_head"):
        mine, theirs = getattr(shape, name, None), getattr(other, name, None)
        if mine != theirs:
            said = f"its {name} is {mine}, {interop.CONFIG} beside it says {theirs}"
            raise InputError(f"{state.path} is the state of another model: {said}; put the right file there")


__all__ = ["RunConfig", "config_from", "options_of", "resume", "start"]
