"""`scratchgpt check FILE:FUNCTION`: is the backward in this file the derivative of the forward beside it?"""

import ast
import contextlib
import difflib
import functools
import inspect
import json
import sys
import traceback
import types
from pathlib import Path

import numpy as np

from scratchgpt.check.pair import TOLERANCE, gradient
from scratchgpt.errors import InputError

DEFAULT_SHAPE = (2, 3, 5)  # distinct primes: no axis can be taken for another
DESCRIPTION = """Check a backward against its forward: every gradient against a numeric one, in float64.

  scratchgpt check my_ops.py:layer_norm --shape x=2,3,5 --shape weight=5 --shape bias=5 --arg eps=1e-5

FUNCTION is layer_norm for layer_norm_forward and layer_norm_backward, relu for relu and relu_backward, or both names:
my_ops.py:norm,norm_grad. forward(...) -> out, cache goes with backward(dout, cache) -> a gradient for each array, in
order; forward(...) -> out goes with backward(dout, *arguments).

If the file defines layer_norm_example(), it is called for the arguments: a tuple of them (arrays, shapes as tuples of
ints, anything else), with a dict at the end for those that go by name and are not differentiated. --shape and --arg
take the place of single ones. The file is run, as `python FILE` would: check only files you trust."""
EPILOG = """exit codes: 0 every gradient is right; 1 one is wrong, could not be checked or would be right whatever the
backward does, or the file's code raised an exception; 2 the file or an option cannot be used."""


class CodeError(Exception):
    """The file's own code raised an exception; the message says where, and which."""


def add_arguments(parser):
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("target", metavar="FILE:FUNCTION", help="a Python file and the pair in it")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=N,N", help="draw standard normal numbers "
                        "of this shape for an argument (default, where a forward has only one: 2,3,5)")  # fmt: skip
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE", help="an argument that is not "
                        "differentiated: a number, a word, or an array as [[0, 1], [2, 0]]")  # fmt: skip
    parser.add_argument("--may-be-zero", action="append", default=[], metavar="NAME",
                        help="an argument whose true gradient is 0, and is meant to be")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the numbers that are drawn (default: 0)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="X",
                        help=f"the largest relative error that is right (default: {TOLERANCE:g})")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(args):
    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}; expected 0 or more")
    if not args.tolerance > 0:
        raise InputError(f"--tolerance is {args.tolerance}; expected a number above 0")
    path, _, function = args.target.rpartition(":")
    if not path:
        raise InputError(f"{args.target} names no function; expected FILE:FUNCTION, as in my_ops.py:layer_norm")
    shapes, values = read_shapes(args.shape), read_values(args.arg)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the file prints is not the report
            code = load(path)
            names = pair_of(code, path, function)
            forward, backward = (guarded(code[name], path) for name in names)
            positional, named, constant = arguments_of(code, path, names[0], shapes, values)
            report = gradient(forward, backward, *positional, seed=args.seed, tolerance=args.tolerance,
                              constant=constant, may_be_zero=args.may_be_zero, **named)  # fmt: skip
    except CodeError as error:
        print(f"scratchgpt: {error}", file=sys.stderr)
        return 1
    if args.json:
        head = {"file": path, "forward": names[0], "backward": names[1], "seed": args.seed}
        print(json.dumps(head | report.to_dict(), indent=2))
    else:
        print(report)
    return 0 if report.ok else 1


# ---- the file


def load(path):
    """What the file defines, {name: value}. Raises InputError when it is missing or does not parse."""
    try:
        code = compile(Path(path).read_bytes(), path, "exec")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte, before Python 3.11.4
        line = f" line {error.lineno}" if getattr(error, "lineno", None) else ""
        raise InputError(f"{path}{line} does not parse: {getattr(error, 'msg', error)}") from None
    module = types.ModuleType("the_checked_file")
    module.__file__ = path
    sys.modules[module.__name__] = module  # dataclasses, for one, look their module up
    sys.path.insert(0, str(Path(path).resolve().parent))  # its own imports, as `python FILE` finds them
    guarded(exec, path)(code, vars(module))
    return vars(module)


def guarded(function, path):
    """function, whose exceptions become CodeErrors that name the line of the file at path."""

    @functools.wraps(function)
    def call(*args, **keywords):
        try:
            return function(*args, **keywords)
        except (Exception, SystemExit) as error:  # anybody's code: it may raise anything, or exit
            frames = traceback.extract_tb(error.__traceback__)[1:]
            mine = [frame for frame in frames if frame.filename == path] or frames[:1]
            where = f"{mine[-1].filename} line {mine[-1].lineno}" if mine else path
            what = " ".join("".join(traceback.format_exception_only(error)).split())
            raise CodeError(f"{where}: {what}") from error

    return call


def pair_of(code, path, function):
    """(name of the forward, name of the backward) that FUNCTION stands for. Raises InputError, with the names that come
    near, when the file lacks one."""
    known = [name for name, value in code.items() if callable(value)]
    forward, comma, backward = function.partition(",")
    base = forward.removesuffix("_forward")
    if not comma:
        forward = f"{base}_forward" if f"{base}_forward" in known else forward
        backward = f"{base}_backward"
    for name in (forward, backward):
        if name not in known:
            near = (
                difflib.get_close_matches(name, known, 2) or [each for each in known if each.endswith("_forward")][:5]
            )
            there = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"{path} has no function {name}{there}")
    return forward, backward


# ---- the arguments


def read_shapes(options):
    """{name: shape} of NAME=N,N options."""
    shapes = {}
    for text in options:
        name, equals, sizes = text.partition("=")
        sizes = [size.strip() for size in sizes.split(",")] if sizes else []
        if not (name.isidentifier() and equals and all(size.isdecimal() for size in sizes)):
            raise InputError(f"--shape {text} is no shape; expected NAME=N,N, as in x=2,3,5")
        shapes[name] = tuple(map(int, sizes))
    return shapes


def read_values(options):
    """{name: value} of NAME=VALUE options: a Python literal, lists as arrays, or a word as it stands."""
    values = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise InputError(f"--arg {text} has no name; expected NAME=VALUE, as in eps=1e-5")
        try:
            value = value if value.isalpha() and value not in ("True", "False", "None") else ast.literal_eval(value)
            values[name] = np.array(value) if isinstance(value, list) else value
        except (SyntaxError, ValueError):
            raise InputError(f"--arg {text} cannot be read; expected a number, a word, or an array as lists") from None
    return values


def arguments_of(code, path, name, shapes, values):
    """(positional arguments, arguments by name, names of the arrays that are not differentiated) for the forward."""
    args, named = example_of(code, path, f"{name.removesuffix('_forward')}_example")
    if args and not shapes and not values:
        return args, named, ()
    try:
        signature = inspect.signature(code[name])
        given = signature.bind_partial(*args, **named).arguments | shapes | values
        parameters = {n: p for n, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: its arguments cannot be told from the example and its signature: {error}") from None
    strange = [each for each in given if each not in parameters]
    if strange:
        raise InputError(f"{name} takes {signature}; it has no argument {', '.join(strange)}")
    missing = [each for each, p in parameters.items() if p.default is p.empty and each not in given]
    if not given and len(missing) == 1:
        given, missing = {missing[0]: DEFAULT_SHAPE}, []
    if missing:
        raise InputError(
            f"{name} needs {', '.join(missing)}: give --shape NAME=2,3,5 for an array, --arg NAME=VALUE for anything "
            f"else, or write {name.removesuffix('_forward')}_example() into the file, which returns them all"
        )
    constant = {*named, *values} - {*shapes}
    order = list(parameters)
    order = order[: 1 + max([order.index(each) for each in given if each not in constant], default=-1)]
    by_name = {each: value for each, value in given.items() if each not in order}
    return [given.get(each, parameters[each].default) for each in order], by_name, constant & {*order}


def example_of(code, path, name):
    """(arguments, arguments by name) that the file's example function returns; none where there is no such function."""
    if name not in code:
        return (), {}
    args = guarded(code[name], path)()
    args = args if isinstance(args, tuple) else (args,)
    return (args[:-1], args[-1]) if args and isinstance(args[-1], dict) else (args, {})
