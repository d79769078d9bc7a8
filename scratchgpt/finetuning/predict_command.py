"""`scratchgpt predict`: what a finetuned model says of a file of examples, or of texts."""

from dataclasses import replace
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.finetuning.predicting import predict
from scratchgpt.finetuning.run import FILES, PREDICTIONS, Data, open_finetuned, write_predictions
from scratchgpt.progress import print_table
from scratchgpt.run import check_can_be_made
from scratchgpt.tasks import (
    TASKS,
    ChoiceExample,
    PairExample,
    SentenceExample,
    SpanExample,
    TagExample,
    gold,
    read,
    score,
)  # fmt: skip

TEXTS = {  # what several --text are
    "sentence": "each a sentence", "tag": "each words with spaces between them", "pair": "a first and a second text",
    "span": "a question and a context", "choice": "a context and two choices or more",
}  # fmt: skip


def add_arguments(parser):
    parser.add_argument("directory", metavar="DIR", help="a finetuned model: what scratchgpt finetune or transformers "
                        "wrote")  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--data", metavar="FILE", help="examples, with labels or without (default: the validation "
                      "examples of the finetuning)")  # fmt: skip
    what.add_argument("--text", action="append", metavar="TEXT", help="a text, several times: a sentence each, or "
                      "words to tag; first and second; question and context; context and choices")  # fmt: skip
    parser.add_argument("--task", choices=TASKS, help="for a model whose directory has no finetune.json (default: what "
                        "its head is for)")  # fmt: skip
    parser.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions, "
                        "as finetuning with this option did")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="where to write the predictions of --data (default: in DIR, "
                        "predictions- and the data's name)")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="default: the cores this process may use")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")


def main(args):
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}; expected at least 1")
    if args.text and args.out:
        raise InputError("--out is for the predictions of --data; those of --text are printed")
    model, tokenizer, settings, record = open_finetuned(args.directory, args.device)
    settings = replace(settings, truncate=settings.truncate or args.truncate)
    task = task_of(model, record, args)
    problem = model.config.problem
    if args.text:
        examples, out = examples_of(args.text, task), None
    else:
        examples, out = read_data(args, task, problem, record)
    said = predict(model, tokenizer, examples, settings, args.threads)
    if args.text:
        show(examples, said, task)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_predictions(out, examples, said)
    print(f"{len(examples):,} predictions in {out}")
    known = [n for n, example in enumerate(examples) if gold(example) is not None]
    if known:
        metrics = score(task, [examples[n] for n in known], [said[n].value for n in known], problem)
        print_table(f"the {len(known):,} that have labels", [(name, f"{each:.4f}") for name, each in metrics.items()])


def task_of(model, record, args):
    """One of TASKS, which must be one of the head's."""
    own = model.config.task
    task = args.task or record.get("task", own)
    if {"pair": "sentence"}.get(task, task) != own:
        raise InputError(f"{args.directory} has a {own} head, which cannot do the task {task}")
    return task


def read_data(args, task, problem, record):
    """(examples, the file for their predictions); the file could be written."""
    if args.data is not None:
        examples, sources = read(args.data, task, problem, labelled=False), [args.data]
        name = f"predictions-{Path(args.data).stem}.jsonl"
    elif "data" in record:
        data = Data(**record["data"])
        examples, sources, name = data.read(task, problem)[1], [data.data, data.val or data.data], PREDICTIONS
    else:
        raise InputError(f"{args.directory} does not say what it was finetuned on; give --data FILE or --text")
    directory = Path(args.directory)
    out = Path(args.out or directory / name)
    if out.is_dir():
        raise InputError(f"{out} is a directory; expected a file for the predictions")
    kept = [*sources, *(directory / each for each in FILES if each != PREDICTIONS)]
    if out.resolve() in [Path(each).resolve() for each in kept]:
        raise InputError(f"--out is {out}, which holds the examples or the model; give another file")
    check_can_be_made(out.parent)
    return examples, out


def examples_of(texts, task):
    """Unlabelled examples of what --text gave."""
    for n, text in enumerate(texts, 1):
        if not text.strip():
            raise InputError(f"--text {n} is empty; expected {TEXTS[task]}")
    wheres = [f"--text {n}" for n in range(1, len(texts) + 1)]
    if task == "sentence":
        return [SentenceExample(text, None, where=where) for text, where in zip(texts, wheres)]
    if task == "tag":
        return [TagExample(tuple(text.split()), None, where=where) for text, where in zip(texts, wheres)]
    if (task == "choice" and len(texts) < 3) or (task != "choice" and len(texts) != 2):
        raise InputError(f"--text is given {len(texts)} times; for the task {task} expected {TEXTS[task]}")
    if task == "choice":
        return [ChoiceExample(texts[0], tuple(texts[1:]), None, where="--text")]
    return [(PairExample if task == "pair" else SpanExample)(texts[0], texts[1], None, where="--text")]


def show(examples, said, task):
    """The predictions as a person reads them."""
    for example, each in zip(examples, said):
        if task == "tag":
            rows = [(word, tag, f"{score:.3f}") for word, tag, score in zip(example.tokens, *each)]
            print_table("", rows, ("word", "tag", "probability"))
        elif task == "choice":
            print(f"{example.choices[each.value]}  ({each.score:.3f})")
        elif isinstance(each.score, dict):
            print(f"{', '.join(each.value) or 'none'}  ({', '.join(f'{n} {p:.3f}' for n, p in each.score.items())})")
        else:
            value = each.value if isinstance(each.value, str) else f"{each.value:.4f}"
            print((value or "no answer") + ("" if each.score is None else f"  ({each.score:.3f})"))
