"""The command line: `scratchgpt train`, eval, sample, tokenizer, params, and the commands that live elsewhere.

Imports are inside the functions, so that --version is quick and Ctrl-C finds its handler as soon as NumPy is loaded.
"""

import argparse
import errno
import os
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

from scratchgpt import __version__
from scratchgpt.errors import InputError, NonFiniteError, SaveError

DESCRIPTION = "Language-model pretraining from scratch in NumPy, with every gradient written by hand."
EPILOG = """exit codes: 0 done, 1 stopped (a number was not finite, or a file could not be written), 2 bad input,
130 stopped by Ctrl-C after saving. Start with: scratchgpt train"""
ELSEWHERE = {  # command -> what it does, and the module that has its add_arguments(parser) and main(args)
    "lesson": ("step through the lessons, line by line", "scratchgpt.lesson.command"),
    "homework": ("exercises whose check names the mistake", "scratchgpt.homework.command"),
    "check": ("check any backward against its forward, numerically", "scratchgpt.check.command"),
    "compare": ("run a model beside PyTorch's and find the first wrong number", "scratchgpt.check.lockstep.command"),
    "finetune": ("teach a pretrained model a task from labelled examples", "scratchgpt.finetuning.command"),
    "predict": ("let a finetuned model answer", "scratchgpt.finetuning.predict_command"),
    "fewshot": ("put a task to a GPT in its context, without training it", "scratchgpt.fewshot"),
    "generate": ("let a T5 fill in the blanks of a text", "scratchgpt.infill"),
    "embed": ("sentences and words as vectors, and how alike they are", "scratchgpt.embed"),
    "doctor": ("show what this machine has and what costs speed", "scratchgpt.doctor"),
    "bench": ("measure training and sampling beside PyTorch", "scratchgpt.bench"),
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, without a usage dump."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, formatter_class=Formatter, **kwargs)

    def error(self, message):
        raise InputError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # the command itself says so, and names its own help
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown


class Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=28, width=100)


def main(argv=None):
    """Runs a command and returns its exit code; every error a user can cause is one line on stderr."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # where the terminal lacks a character it shows ?
    try:
        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(error, 2)
    except (NonFiniteError, SaveError) as error:
        return complain(error, 1)
    except BrokenPipeError:
        drop_output()
        return 141  # 128 + SIGPIPE, as a shell reports it
    except KeyboardInterrupt as interrupt:
        return complain(str(interrupt) or "interrupted", 128 + getattr(interrupt, "signum", 2))
    except MemoryError as error:
        return complain(f"out of memory: {error or 'make the model or the batch smaller'}", 1)
    except OSError as error:  # a disk is full, a name is too long
        try:
            sys.stdout.flush()
        except OSError:
            drop_output()
        where = error.filename2 or error.filename or "the output"
        return complain(f"{where}: {error.strerror or error}", 2 if error.errno == errno.ENAMETOOLONG else 1)


def drop_output():
    """What is left in the buffer of standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def complain(message, code):
    print(f"scratchgpt: {' '.join(str(message).splitlines())}", file=sys.stderr)
    return code


def dispatch(arguments):
    parser = build_parser(next((word for word in arguments if not word.startswith("-")), None))
    if not arguments:
        parser.print_help()
        return 0
    args = parser.parse_args(arguments)
    return args.run(args) or 0


def build_parser(command=None):
    """The parser of all commands; the options of `command` alone are read from the library."""
    parser = Parser(prog="scratchgpt", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"scratchgpt {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, add, text in (
        ("train", add_train, "train a model on a text, or resume a run"),
        ("eval", add_eval, "measure how well a model predicts a text"),
        ("sample", add_sample, "let a model continue a prompt"),
        ("tokenizer", add_tokenizer, "train a BPE or WordPiece tokenizer, encode, decode"),
        ("params", add_params, "count a model's parameters, memory and FLOPs"),
    ):
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            add(one)
    for name, (text, place) in ELSEWHERE.items():
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            module = import_module(place)
            module.add_arguments(one)
            one.set_defaults(run=module.main)
    return parser


# ---- train and eval


def add_train(parser):
    from scratchgpt.run import command

    command.add_arguments(parser)
    parser.set_defaults(run=command.main)


def add_eval(parser):
    from scratchgpt.run import eval_command

    eval_command.add_arguments(parser)
    parser.set_defaults(run=eval_command.main)


# ---- sample


def add_directory(parser):
    parser.add_argument("directory", metavar="DIR", help="a run's directory, or any Hugging Face GPT-2 or OpenAI-GPT")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")


def load_gpt(args):
    """The GPT in args.directory. Raises InputError when another model is there."""
    from scratchgpt import interop
    from scratchgpt.models.gpt import GPT

    model = interop.load(args.directory, device=args.device)
    if not isinstance(model, GPT):
        raise InputError(
            f"{args.directory} holds a {type(model).__name__}; expected a GPT, which predicts the next token"
        )
    return model


def add_sample(parser):
    add_directory(parser)
    parser.add_argument("--prompt", metavar="TEXT", required=True, help="what to continue, at most one context long")
    parser.add_argument("--max-tokens", type=int, default=200, metavar="N", help="tokens to add (default: 200)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X", help="above 1 more random, below 1 "
                        "less, 0 greedy (default: 0.8)")  # fmt: skip
    parser.add_argument("--top-k", type=int, metavar="N", help="draw from the N most likely tokens only")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="draw from the likeliest tokens that together reach probability P"
    )
    parser.add_argument("--greedy", action="store_true", help="always the most likely token")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="fixes the draws (default: 0)")
    parser.add_argument("--no-cache", action="store_true", help="run the whole window for each token: same, but slower")
    parser.set_defaults(run=sample)


def sample(args):
    from scratchgpt import interop
    from scratchgpt.run.examples import show_sample

    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}; expected 0 or more")
    if not args.prompt:
        raise InputError("--prompt is empty; a language model continues at least one token")
    model = load_gpt(args)
    tokenizer = interop.load_tokenizer(args.directory)
    temperature = 0 if args.greedy else args.temperature
    show_sample(
        model, tokenizer, args.prompt, max_new_tokens=args.max_tokens, temperature=temperature, top_k=args.top_k,
        top_p=args.top_p, seed=args.seed, use_cache=not args.no_cache,
    )  # fmt: skip


# ---- tokenizer


def add_tokenizer(parser):
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    one = actions.add_parser("train", help="learn a vocabulary from a text", description="Learn a vocabulary from a "
                             "text: BPE's by merging the most frequent pair, WordPiece's by likelihood.")  # fmt: skip
    one.add_argument("--kind", choices=("bpe", "wordpiece"), default="bpe", help="GPT-2's or BERT's (default: bpe)")
    one.add_argument("--cased", action="store_true", help="keep case and accents, with --kind wordpiece; bpe always "
                     "does")  # fmt: skip
    one.add_argument("--data", default="plays", metavar="NAME", help="a UTF-8 text file, or plays (default: plays)")
    one.add_argument("--vocab-size", type=int, default=1024, metavar="N", help="257 or more; wordpiece: more "
                     "than the text has characters (default: 1024)")  # fmt: skip
    one.add_argument("--processes", type=int, default=1, metavar="N", help="how many count the words, with --kind bpe "
                     "(default: 1)")  # fmt: skip
    one.add_argument("--out", required=True, metavar="DIR", help="where tokenizer.json goes, and vocab.json with "
                     "merges.txt, or vocab.txt")  # fmt: skip
    one.add_argument("--force", action="store_true", help="overwrite the files that DIR already holds")
    one.set_defaults(run=tokenizer_train)
    one = actions.add_parser("encode", help="text to ids", description="Text to ids, on one line.")
    one.add_argument("directory", metavar="DIR", help="a tokenizer's or a run's directory")
    source = one.add_mutually_exclusive_group()
    source.add_argument("--text", metavar="TEXT", help="the text (default: standard input)")
    source.add_argument("--data", metavar="FILE", help="a UTF-8 text file, or plays")
    one.set_defaults(run=tokenizer_encode)
    one = actions.add_parser("decode", help="ids to text", description="Ids to text.")
    one.add_argument("directory", metavar="DIR", help="a tokenizer's or a run's directory")
    one.add_argument("ids", nargs="*", metavar="ID", help="the ids (default: standard input, separated by white space)")
    one.set_defaults(run=tokenizer_decode)
    one = actions.add_parser("compare", help="BPE and WordPiece side by side", description="Train BPE and WordPiece on "
                             "a text but its last tenth, to the same size, and measure both on that.")  # fmt: skip
    one.add_argument("--data", default="plays", metavar="NAME", help="a UTF-8 text file, or plays (default: plays)")
    one.add_argument("--vocab-size", type=int, default=1024, metavar="N", help="of both (default: 1024)")
    one.add_argument("--cased", action="store_true", help="WordPiece keeps case and accents, as BPE does")
    one.set_defaults(run=tokenizer_compare)


def tokenizer_train(args):
    from scratchgpt.data import path_of
    from scratchgpt.run import check_can_be_made
    from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer
    from scratchgpt.train import refuse_other_run

    out = Path(args.out)
    if args.kind == "bpe" and args.cased:
        raise InputError("--cased is for --kind wordpiece; bpe always keeps case and accents: leave it out")
    if args.kind == "wordpiece" and args.processes != 1:
        raise InputError(f"--processes is {args.processes}; with --kind wordpiece one process counts: leave it out")
    if not args.force:
        refuse_other_run(out, "overwrite its tokenizer with --force, or give another --out")
    check_can_be_made(out)
    if args.kind == "wordpiece":
        tokenizer = WordPieceTokenizer.train_file(path_of(args.data), args.vocab_size, lowercase=not args.cased)
    else:
        tokenizer = BPETokenizer.train_file(path_of(args.data), args.vocab_size, processes=args.processes)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out)
    print(f"{tokenizer.vocab_size:,} tokens, in {out}")


def tokenizer_encode(args):
    from scratchgpt.data import decode_text, path_of
    from scratchgpt.interop import load_tokenizer
    from scratchgpt.tokenizers.split import read_text

    tokenizer = load_tokenizer(args.directory)
    if args.data is None:
        text = decode_text(sys.stdin.buffer.read(), "standard input") if args.text is None else args.text
        print(*tokenizer.encode(text))
        return
    path = path_of(args.data)
    for _ in read_text(path):
        pass  # a byte that is not text is found before the first id is printed
    for number, ids in enumerate(tokenizer.encode_file(path)):
        sys.stdout.write(" " * (number > 0) + " ".join(map(str, ids.tolist())))
    print()


def tokenizer_decode(args):
    from scratchgpt.interop import load_tokenizer

    tokenizer = load_tokenizer(args.directory)
    ids = []
    for word in args.ids or sys.stdin.read().split():
        if not word.isdecimal() or len(word) > 20:
            most = tokenizer.vocab_size - 1
            raise InputError(f"{word[:40]!r} is not a token id; expected whole numbers from 0 to {most}")
        ids.append(int(word))
    sys.stdout.write(tokenizer.decode(ids))


def tokenizer_compare(args):
    from scratchgpt.data import load_text, split_text
    from scratchgpt.progress import print_table
    from scratchgpt.tokenizers.side_by_side import measure, split_by_both, train_both

    train_text, held_out = split_text(load_text(args.data))
    both = train_both(train_text, args.vocab_size, lowercase=not args.cased)
    columns = ("", "BPE", "WordPiece")
    title = (f"{args.data}: trained on {len(train_text.encode()):,} bytes to {args.vocab_size:,} tokens each, measured "
             f"on the {len(held_out.encode()):,} held out")  # fmt: skip
    rows = zip(*(measurement_rows(measure(tokenizer, held_out)) for tokenizer in both), strict=True)
    print_table(title, [(name, left, right) for (name, left), (_, right) in rows], columns)
    examples = islice(split_by_both(*both, held_out), 8)
    rows = [(word, " ".join(left), " ".join(right)) for word, left, right in examples]
    if rows:
        print_table("the most frequent words that both divide, at different places", rows, columns)


def measurement_rows(measured):
    return [
        ("tokens", f"{measured.tokens:,}"),
        ("bytes per token", f"{measured.bytes_per_token:.2f}"),
        ("tokens per word", f"{measured.tokens_per_word:.2f}"),
        ("unknown tokens", f"{measured.unknown:,}"),
        ("decodes to the same text", "yes" if measured.reversible else "no"),
    ]


# ---- params


def add_params(parser):
    from scratchgpt.models.presets import SHAPES

    parser.add_argument("--preset", choices=tuple(SHAPES), help="one model by part (default: all of them, in total)")
    parser.set_defaults(run=show_params)


def show_params(args):
    from scratchgpt.models.presets import SHAPES
    from scratchgpt.progress import print_table

    if args.preset is None:
        rows = []
        for name, (family, config) in SHAPES.items():
            total = sum(family.count_parameters(config).values())
            flops = family.training_flops_per_token(config)
            rows.append((name, f"{config.n_layer} x {config.n_embd:,}", f"{total:,}", size(16 * total), f"{flops:.3g}"))
        print_table(None, rows, ("preset", "layers x width", "parameters", "training memory", "FLOPs per token"))
        return
    family, config = SHAPES[args.preset]
    counts = family.count_parameters(config)
    total = sum(counts.values())
    rows = [(part, f"{count:,}", f"{count / total:.1%}") for part, count in counts.items()]
    rows.append(("total", f"{total:,}", "100.0%"))
    if getattr(config, "moe", None):
        active = sum(family.count_parameters(config, active=True).values())
        rows.append(("active for a token", f"{active:,}", f"{active / total:.1%}"))
    print_table(
        f"{args.preset}: {config.n_layer} layers, {config.n_head} heads, width {config.n_embd:,}, context "
        f"{config.n_ctx:,}, {config.vocab_size:,} tokens", rows, ("part", "parameters", "share"),
    )  # fmt: skip
    flops = family.training_flops_per_token(config)
    print_table("float32", [
        ("weights", size(4 * total)), ("gradients", size(4 * total)), ("optimizer (m and v)", size(8 * total)),
        ("together", size(16 * total)), (f"training FLOPs per token at {config.n_ctx:,}", f"{flops:.4g}"),
    ])  # fmt: skip


def size(n_bytes):
    """size(2.5e9) -> "2.50 GB" (powers of ten)."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.2f} {name}"
    return f"{n_bytes:,.0f} bytes"


if __name__ == "__main__":
    sys.exit(main())
