"""`scratchgpt eval`: how well a model does on a text what it was trained to do."""

import argparse
from pathlib import Path

from scratchgpt import interop
from scratchgpt.checkpoint import STATE_FILE, load_state
from scratchgpt.data import load_text
from scratchgpt.errors import InputError
from scratchgpt.progress import print_table
from scratchgpt.run import RunConfig
from scratchgpt.run.families import FAMILIES, family_of

EVALUATION_RULE = (
    "GPT: every token of the text but the very first is predicted exactly once: windows of n_ctx tokens advance by "
    "n_ctx / 2, so that each token has at least n_ctx / 2 tokens before it (except in the first window). "
    "Bits per byte = sum of nats / ln 2 / bytes of the text. BERT and its kin: the text is read four times, with masks "
    "(and pairs) that are the same every time the command is run. T5: rows of the text, one after another, with hidden "
    "spans that are the same every time; each target is said from the right ones before it. "
    "word2vec: each pair of words of the text with negatives that are the same every time."
)


def add_arguments(parser):
    parser.epilog = f"The rule. {EVALUATION_RULE}"
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
    parser.add_argument("directory", metavar="DIR", help="a run's directory, or a Hugging Face model of its families")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    parser.add_argument("--data", metavar="NAME", help="a UTF-8 text file, plays or addresses (default: the run's own "
                        "data)")  # fmt: skip
    parser.add_argument("--split", choices=("all", "validation"), help="the whole text, or the last tenth that "
                        "training holds out (default: all of --data; validation without it)")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="default: the cores this process may use")


def main(args):
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}; expected at least 1")
    model = interop.load(args.directory, device=args.device)
    family = FAMILIES[family_of(model)]
    tokenizer = interop.load_tokenizer(args.directory)
    state = Path(args.directory) / STATE_FILE
    kept = load_state(state).record.get("run") if state.exists() else None
    data = args.data or (kept or {}).get("data")
    if data is None:
        raise InputError(f"{args.directory} does not say what it was trained on; give --data FILE")
    split = args.split or ("all" if args.data else "validation")
    text = load_text(data)
    text = family.split(text)[1] if split == "validation" else text
    result = family.examine(model, tokenizer, text, RunConfig(**kept or {}), args.threads)
    print_table(f"{data}, {'its last tenth' if split == 'validation' else 'whole'}", result.rows())
