"""`scratchgpt finetune`: from a pretrained directory and labelled examples to a finetuned directory."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np

from scratchgpt import interop
from scratchgpt.errors import InputError
from scratchgpt.finetuning.curve import draw_finetuning
from scratchgpt.finetuning.loop import FinetuneConfig, Finetuner, backbone_of, fresh, said
from scratchgpt.finetuning.run import CURVE, FILES, Data, begin, check_can_be_saved, clear, keep, log
from scratchgpt.progress import clock, print_table
from scratchgpt.run import check_can_be_made
from scratchgpt.tasks import SETS, TASKS
from scratchgpt.train import options_of

SYNTHETIC = "synthetic"  # the names of the sets that are made up begin with it


def add_arguments(parser):
    parser.usage = "scratchgpt finetune DIR --task TASK --data FILE [options]"
    parser.add_argument("directory", metavar="DIR", help="a pretrained BERT, RoBERTa, SpanBERT or GPT: a run's "
                        "directory, or one of Hugging Face; a head that it has already is left out")  # fmt: skip
    task = parser.add_argument_group("task")
    task.add_argument("--task", required=True, choices=TASKS)
    task.add_argument("--data", required=True, metavar="FILE", help="labelled examples: TSV, CSV, JSONL, CoNLL "
                      f"columns, SQuAD's JSON; or one of {', '.join(SETS)}")  # fmt: skip
    task.add_argument("--val", metavar="FILE", help="validation examples (default: a share of --data)")
    task.add_argument("--share", type=float, default=argparse.SUPPRESS, metavar="X", help="of --data that validates, "
                      "whole groups where there are such; the same part whatever the seed (default: 0.1)")  # fmt: skip
    groups = {"task": task} | {name: parser.add_argument_group(name) for name in ("optimisation", "run")}
    for each in options_of(FinetuneConfig):
        add_option(groups[each.metadata["group"]], each)
    run = groups["run"]
    run.add_argument("--seeds", metavar="A,B,C", help="one run for each of these seeds, in OUT/seed-A and so on, and "
                     "the mean of their metrics")  # fmt: skip
    run.add_argument("--from-scratch", action="store_true", help="the same shape and tokenizer, but new weights: what "
                     "did pretraining give?")  # fmt: skip
    run.add_argument("--out", metavar="DIR", help="directory of the finetuned model (default: runs/, the names of the "
                     "model and the data, and -scratch)")  # fmt: skip
    run.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    run.add_argument("--force", action="store_true", help="overwrite the run that --out already holds")
    run.add_argument("--quiet", action="store_true", help="no progress, no table")


def add_option(group, each):
    """An option for a field of FinetuneConfig."""
    name, text, choices = f"--{each.name.replace('_', '-')}", each.metadata["help"], each.metadata.get("choices")
    if each.type is bool:
        group.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    kind = next((kind for kind in get_args(each.type) if kind is not type(None)), each.type)
    group.add_argument(
        name, type=kind, default=argparse.SUPPRESS, choices=choices,
        metavar=None if choices else {int: "N", float: "X", str: "NAME"}[kind],
        help=text + ("" if each.default is None else f" (default: {each.default})"),
    )  # fmt: skip


def main(args):
    given = {each.name: getattr(args, each.name) for each in options_of(FinetuneConfig) if hasattr(args, each.name)}
    if args.val is not None and hasattr(args, "share"):
        raise InputError("--val gives the validation examples and --share draws them from --data; give one of them")
    data = Data(args.data, args.val, getattr(args, "share", 0.1))
    out = directory_of(args)
    seeds = None if args.seeds is None else seeds_of(args.seeds, given)
    places = [out] if seeds is None else [out / f"seed-{seed}" for seed in seeds]
    for place in places:
        check_out(place, args)
    try:
        model = backbone_of(interop.load(args.directory, device=args.device))
    except InputError as error:
        where = "" if str(args.directory) in str(error) else f"{args.directory}: "
        raise InputError(f"{where}{error}") from None
    tokenizer = interop.load_tokenizer(args.directory)
    examples = data.read(args.task, given.get("problem", "single"))
    results = []
    for place, seed in zip(places, seeds or [given.get("seed", 0)]):
        config = FinetuneConfig(**given | {"seed": seed})
        started = fresh(model, seed) if args.from_scratch else model
        tuner = Finetuner(started, tokenizer, *examples, args.task, config)
        check_can_be_saved(tuner.model.config)
        record = {
            "task": args.task, "model": str(Path(args.directory).resolve()), "from_scratch": args.from_scratch,
            "data": asdict(data.whole_names()),
            "options": asdict(config) | {"lr": tuner.lr, "threads": tuner.threads},
        }  # fmt: skip
        results.append(run(tuner, place, record, args))
    if seeds is not None and not args.quiet:
        compare(seeds, results)


def directory_of(args):
    for name in ("out", "data", "val", "directory"):
        if getattr(args, name) == "":
            raise InputError(f"--{name} is empty; expected a path (is a shell variable unset?)")
    if args.out is not None:
        return Path(args.out)
    name = f"{Path(args.directory).resolve().name}-{Path(args.data).stem}"
    return Path("runs") / (name + ("-scratch" if args.from_scratch else ""))


def seeds_of(text, given):
    if "seed" in given:
        raise InputError("--seed is for one run and --seeds for several; give one of them")
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds is {text!r}; expected whole numbers with commas between them, as 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds is {text!r}; expected each seed once, 0 or more")
    return seeds


def check_out(out, args):
    """Raises InputError when a directory cannot be used, or holds another run that was not given up with --force."""
    if out.resolve() == Path(args.directory).resolve():
        raise InputError(f"--out is {out}, the directory of the pretrained model; give another")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected a directory for the run")
    found = next((name for name in FILES if (out / name).exists()), None)
    if found and not args.force:
        raise InputError(f"{out} already holds a run ({found}); overwrite it with --force, or give another --out")
    check_can_be_made(out)


def run(tuner, out, record, args):
    """One finetuning, and what it leaves in the directory; its Result."""
    best, begun = [], time.monotonic()

    def better(result):
        keep(out, result, tuner.validation, record)
        best[:] = [result]

    if not args.quiet:
        introduce(tuner, out, args)
    try:
        begin(out)
        result = tuner.run(args.quiet, better, lambda each: log(out, each))
    except KeyboardInterrupt:
        if not best:
            clear(out)
        left = f"the best model so far, of epoch {best[0].epoch}, is in {out}" if best else "nothing was saved"
        raise KeyboardInterrupt(f"interrupted at step {tuner.done}; {left}") from None
    title = f"{Path(args.data).stem}, {args.task}: {described(tuner)}"
    draw_finetuning(out / CURVE, result.history, result.majority, title)
    if not args.quiet:
        summarise(tuner, result, out, time.monotonic() - begun)
    return result


def described(tuner):
    config = tuner.model.config
    kind = type(config.backbone).__name__.removesuffix("Config")
    return f"a {kind} of {config.n_layer} layers, width {config.n_embd}"


def introduce(tuner, out, args):
    made_up = " (synthetic)" if args.data.startswith(SYNTHETIC) else ""
    labels = tuner.model.config.labels
    known = f", {len(labels)} labels" if len(labels) > 1 else ""
    start = "new weights" if args.from_scratch else f"pretrained in {args.directory}"
    print(
        f"{len(tuner.train):,} training examples{made_up}, {len(tuner.validation):,} for validation{known}; "
        f"{described(tuner)}, {tuner.model.params.size:,} parameters, {start}; threads: {tuner.threads}, "
        f"learning rate {tuner.lr:.2g}, into {out}",
        flush=True,
    )
    if tuner.majority is not None:
        shown = {name: value for name, value in tuner.majority.items() if name != "says"}
        print(f"without a model, always {tuner.majority['says']!r}: {said(shown)}", flush=True)


def summarise(tuner, result, out, seconds):
    rows = [(name, f"{value:.4f}", shown(result.majority, name)) for name, value in result.metrics.items()]
    print_table(f"{len(tuner.validation):,} validation examples, epoch {result.epoch}, after {clock(seconds)}", rows,
                ("", "model", "without a model"))  # fmt: skip
    print(f"The model is in {out}; to use it: scratchgpt predict {out} --text '...'")


def shown(majority, name):
    return "" if majority is None else f"{majority[name]:.4f}"


def compare(seeds, results):
    """A row for each metric: its value for every seed, and their mean and standard deviation."""
    rows = []
    for name in results[0].metrics:
        values = [result.metrics[name] for result in results]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        rows.append((name, *(f"{value:.4f}" for value in values), f"{np.mean(values):.4f}{spread}"))
    print_table("the validation examples, seed by seed", rows, ("", *(f"seed {seed}" for seed in seeds), "mean"))
