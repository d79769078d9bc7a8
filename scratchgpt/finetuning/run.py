"""The directory of a finetuned model: transformers' files, and beside them

finetune.json       the task, what coder it takes, the data, the options, the best epoch and its metrics
predictions.jsonl   for each validation example its id, the prediction, what is right, and how sure the model was
metrics.jsonl       the loss every few updates, the metrics after every epoch
finetune.png        both, drawn
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from scratchgpt import interop
from scratchgpt.errors import InputError
from scratchgpt.files import read_json, write_text
from scratchgpt.finetuning.coders import Settings
from scratchgpt.models.heads import Head
from scratchgpt.tasks import SETS, TASKS, gold, read, split
from scratchgpt.train import METRICS_FILE, RUN_FILES

RECORD, PREDICTIONS, CURVE = "finetune.json", "predictions.jsonl", "finetune.png"
FILES = (RECORD, PREDICTIONS, CURVE, *RUN_FILES)
SPLIT_SEED = 0  # one split for every seed, so that runs can be compared


@dataclass(frozen=True)
class Data:
    """Where the examples are: a set's name or a file, and the validation examples, a file or a share of the first."""

    data: str
    val: str | None = None
    share: float = 0.1

    def read(self, task, problem):
        """(training examples, validation examples)."""
        examples = read(self.data, task, problem)
        if self.val is not None:
            return examples, read(self.val, task, problem)
        return split(examples, self.share, SPLIT_SEED)

    def whole_names(self):
        """The same with the absolute paths of files."""
        return replace(self, data=whole(self.data), val=None if self.val is None else whole(self.val))


def whole(name):
    """The absolute path of a file, or the name of a set."""
    return name if name in SETS else str(Path(name).resolve())


def check_can_be_saved(config):
    """Raises InputError when transformers has no place for a head, before it is trained."""
    try:
        interop.key_table(interop.layout_of(config), config)
    except InputError:
        kind = "GPT-1 (norm_first false)" if not config.norm_first else type(config.backbone).__name__
        raise InputError(f"transformers has no {config.task} head for a {kind} of this shape, so it could not be "
                         "saved; finetune another model for this task") from None  # fmt: skip


def begin(out):
    """Makes the directory, and clears it of another run, which the user has agreed to."""
    out.mkdir(parents=True, exist_ok=True)
    clear(out)


def clear(out):
    """Removes a run's files."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def log(out, record):
    """Adds a record to metrics.jsonl."""
    with open(out / METRICS_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def keep(out, result, examples, record):
    """Writes the model, the predictions and finetune.json, in this order, each file whole."""
    interop.save(result.model, out, result.tokenizer)
    write_predictions(out / PREDICTIONS, examples, result.predictions)
    record = record | {
        "settings": asdict(result.settings), "epoch": result.epoch, "metrics": result.metrics,
        "majority": result.majority,
    }  # fmt: skip
    write_text(out / RECORD, json.dumps(record, indent=2) + "\n")  # in ASCII: a path may hold what is not UTF-8


def write_predictions(path, examples, predictions):
    """A line of JSON for each example."""
    lines = [{"id": example.id, "prediction": said.value, "gold": gold(example), "score": said.score}
             for example, said in zip(examples, predictions)]  # fmt: skip
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def open_finetuned(directory, device="cpu"):
    """(headed model, tokenizer, Settings, what finetune.json says or {}) of a directory; one that transformers wrote
    has no finetune.json. Raises InputError for a model without a head, and for a finetune.json that is not one."""
    directory = Path(directory)
    model = interop.load(directory, device=device)
    if not isinstance(model, Head):
        raise InputError(f"{directory} holds a {type(model).__name__} without a task's head; expected one that "
                         "scratchgpt finetune put on a BERT or a GPT")  # fmt: skip
    tokenizer = interop.load_tokenizer(directory)
    path = directory / RECORD
    if not path.exists():
        return model, tokenizer, Settings(), {}
    record = read_json(path)
    try:
        settings, data = Settings(**record["settings"]), Data(**record["data"])
        typed = all(
            isinstance(getattr(said, each.name), each.type) for said in (settings, data) for each in fields(said)
        )
        sound = typed and record["task"] in TASKS and settings.longest > 0
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise InputError(f"{path} does not say the task, the settings and the data, as finetuning does; restore it")
    return model, tokenizer, settings, record
