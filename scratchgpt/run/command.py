"""`scratchgpt train`: a run from its options, or one that is resumed, and what is said of it."""

import argparse
import sys
from typing import get_args

from scratchgpt.errors import InputError
from scratchgpt.progress import clock, print_table
from scratchgpt.run import RunConfig, config_from, options_of, resume, start
from scratchgpt.run.families import FAMILIES

GROUPS = ("data", "model", "optimisation", "run")  # of the options, as --help shows them
NOTHING_SAVED = "interrupted before training began; nothing was saved: run the command again"


def add_arguments(parser):
    parser.usage = "scratchgpt train [options]"
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for each in options_of(RunConfig):
        kind = next((kind for kind in get_args(each.type) if kind is not type(None)), each.type)
        choices = each.metadata.get("choices")
        groups[each.metadata["group"]].add_argument(
            f"--{each.name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, choices=choices,
            metavar=None if choices else {int: "N", float: "X", str: "NAME"}[kind],
            help=each.metadata["help"] + said_of_default(each),
        )  # fmt: skip
    run = groups["run"]
    run.add_argument("--resume", metavar="DIR", help="continue the run in DIR from its checkpoint, bit for bit, with "
                     "the run's own options; --steps may be raised, --data say where the text is now")  # fmt: skip
    run.add_argument("--force", action="store_true", help="overwrite the run that --out already holds")
    run.add_argument("--quiet", action="store_true", help="no progress, no table, no sample")


def said_of_default(option):
    """What --help says after an option's text: " (default: 4; bert, t5: 2)", and for which models it is, where not
    all."""
    users, others = option.metadata.get("of", tuple(FAMILIES)), {}
    for name in users:
        if option.name in FAMILIES[name].defaults:
            others.setdefault(FAMILIES[name].defaults[option.name], []).append(name)
    said = "" if option.default is None else str(option.default)
    said = "; ".join([said, *(f"{', '.join(names)}: {value}" for value, names in others.items())])
    without = [name for name in FAMILIES if name not in users]
    only = f" ({', '.join(users)} only)" if len(without) > 1 else f" (not {without[0]})" if without else ""
    return (f" (default: {said})" if said else "") + only


def main(args):
    try:
        trainer = prepare(args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(NOTHING_SAVED) from None
    try:
        if not args.quiet:
            introduce(trainer)
        result = trainer.run()
        if not args.quiet:
            summarise(trainer, result)
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            raise
        if not trainer.begun and not trainer.resumed:
            raise KeyboardInterrupt(NOTHING_SAVED) from None
        raise KeyboardInterrupt(f"interrupted; to continue: scratchgpt train --resume {trainer.out}") from None


def prepare(args):
    """The Trainer that the options ask for; nothing is written yet."""
    own = ("run", "resume", "force", "quiet")
    given = {name: value for name, value in vars(args).items() if name not in own}
    if args.resume and args.force:
        raise InputError("--resume continues a run and --force overwrites one; give one of them")
    return resume(args.resume, given, args.quiet) if args.resume else start(config_from(given), args.force, args.quiet)


def introduce(trainer):
    model, family = trainer.model, trainer.config.family
    active = ""
    if getattr(model.config, "moe", None):
        active = f", {sum(family.sizes.count_parameters(model.config, active=True).values()):,} of them for a token"
    print(
        f"{trainer.data.n_train:,} training tokens, {trainer.data.n_val:,} for validation, a vocabulary of "
        f"{model.config.vocab_size:,}; a {family.title} of {model.params.size:,} parameters{active}, {trainer.threads} "
        f"threads, into {trainer.out}"
    )
    if trainer.resumed:
        exactly = "" if trainer.same_kernels else "; not bit for bit: BLAS has other kernels here than it had then"
        print(f"resumed at step {trainer.done} of {trainer.config.steps}{exactly}")
    sys.stdout.flush()


def summarise(trainer, result):
    tokens = trainer.done * trainer.data.tokens_per_step
    rows = [
        *result.rows(),
        ("parameters", f"{trainer.model.params.size:,}"),
        ("trained on", f"{tokens:,} tokens, {tokens / trainer.data.n_train:.1f} epochs"),
        ("training time", clock(trainer.seconds)),
    ]
    print_table("whole validation text", rows)
    print(trainer.data.verdict(result))
    trainer.config.family.show(trainer)
