"""The op table: the one seam through which blocks and models reach the ops.

    ops = table("fast_cpu")
    out, cache = ops.linear_forward(x, weight, bias)

A table that lacks a name falls back to `reference`. Whatever varies (a faster table, a student's own op, a tracer, a
watch for NaN) is a table, or a wrapper around one, and no model changes.
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

from scratchgpt.backend import array_module
from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.ops import reference

UNPAIRED = ("choose_experts", "moved_bias", "global_norm", "adamw_step")  # ops that are not differentiated


@cache
def op_names():
    """Every name a table has, in the order of the reference page."""
    public = inspect.getmembers(reference, inspect.isfunction)
    names = [name for name, f in public if name.endswith(("_forward", "_backward")) or name in UNPAIRED]

    def place(name):
        code = getattr(reference, name).__code__
        return code.co_filename != reference.__file__, code.co_firstlineno

    return tuple(sorted(names, key=place))


class OpTable:
    """Ops as attributes. `replace(name=function)` gives a table with some ops swapped."""

    def __init__(self, name, functions):
        self.name = name
        vars(self).update({op: getattr(reference, op) for op in op_names()} | functions)

    def __repr__(self):
        return f"OpTable({self.name!r})"

    def at(self, part):
        """The table for a named part of the model ("blocks.3"): itself, unless the table is a wrapper."""
        return self

    def replace(self, **functions):
        mine = {op: getattr(self, op) for op in op_names()}
        unknown = functions.keys() - mine.keys()
        if unknown:
            raise InputError(f"no op is called {', '.join(sorted(unknown))}; the ops are {', '.join(mine)}")
        return OpTable(f"{self.name} with {', '.join(functions)}", mine | functions)


class WrappedOps(OpTable):
    """A table whose every call goes through around(place, op_name, function, args, kwargs) -> result."""

    def __init__(self, ops, around, place=""):
        self.inner, self.around, self.place = ops, around, place
        super().__init__(f"{ops.name}, wrapped", {op: self._wrap(op) for op in op_names()})

    def at(self, part):
        return WrappedOps(self.inner.at(part), self.around, f"{self.place}.{part}" if self.place else part)

    def replace(self, **functions):
        return WrappedOps(self.inner.replace(**functions), self.around, self.place)

    def _wrap(self, op):
        function = getattr(self.inner, op)
        return lambda *args, **kwargs: self.around(self.place, op, function, args, kwargs)


def table(name):
    """The op table called "reference", "fast_cpu" or "flash"."""
    if name not in ("reference", "fast_cpu", "flash"):
        raise InputError(f"op table {name!r} is unknown; expected reference, fast_cpu or flash")
    module = import_module(f"scratchgpt.ops.{name}")
    return OpTable(name, {op: getattr(module, op) for op in op_names() if hasattr(module, op)})


def default_table(device):
    """The table a model uses unless told otherwise."""
    return table("fast_cpu" if device == "cpu" else "reference")


def watched(ops):
    """A table that stops at the first op whose result is not finite, with a NonFiniteError that names it."""

    def around(place, op, function, args, kwargs):
        result = function(*args, **kwargs)
        for array in outputs_of(op, result):
            if array is not None and not bool(array_module(array).isfinite(array).all()):
                raise NonFiniteError(f"{op}{f' in {place}' if place else ''} gave NaN or infinity")
        return result

    return WrappedOps(ops, around)


def outputs_of(op, result):
    """What an op computed, as a tuple: a forward's out without its cache, a backward's gradients, or the value."""
    return result[:1] if op.endswith("_forward") else result if isinstance(result, tuple) else (result,)


class Call(NamedTuple):
    """One call of an op, as `traced` records it."""

    place: str  # the part of the model, "blocks.3.attn.qkv"
    op: str  # "linear_forward"
    function: Callable
    args: dict  # {the reference's name of an argument: its value, before the call}
    outputs: tuple  # outputs_of the op; of adamw_step, which returns nothing, its arrays as it left them
    overwritten: tuple  # names of the arguments that it changed, which no op may but adamw_step
    stack: tuple  # (code object, line) of every function that led to the call, the innermost first


def traced(ops, keep=None):
    """(table, calls): each call of an op through the table is appended to the list `calls` as a Call.

    keep: a function array -> array that is recorded in its place. By default a copy, because whoever owns an array may
    overwrite it later; give one that leaves out the copy of what nobody changes.
    """
    calls = []

    def kept(value):
        return value if not hasattr(value, "dtype") else value.copy() if keep is None else keep(value)

    def around(place, op, function, args, kwargs):
        bound = signature_of(op).bind(*args, **kwargs)
        bound.apply_defaults()
        before = {name: kept(value) for name, value in bound.arguments.items()}
        result = function(*args, **kwargs)
        after = {name: kept(value) for name, value in bound.arguments.items() if hasattr(value, "dtype")}
        if op == "adamw_step":
            outputs, overwritten = tuple(after.values()), ()
        else:
            outputs = tuple(kept(array) for array in outputs_of(op, result))
            overwritten = tuple(name for name, array in after.items() if not same_bits(array, before[name]))
        calls.append(Call(place, op, function, before, outputs, overwritten, stack_of(sys._getframe(2))))
        return result

    return WrappedOps(ops, around), calls


@cache
def signature_of(op):
    """The reference's signature of an op: what its arguments are called, whatever another table calls them."""
    return inspect.signature(getattr(reference, op))


def same_bits(a, b):
    return a is b or bool(array_module(a).array_equal(a, b, equal_nan=True))


def stack_of(frame):
    stack = []
    while frame is not None:
        stack.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(stack)


__all__ = ["Call", "OpTable", "WrappedOps", "default_table", "op_names", "table", "traced", "watched"]
