"""What an exercise is: which functions the student writes, on which inputs they are run, and which mistakes are known.

Adding an exercise is writing one `Exercise` in `exercises/NAME.py`. What the right answer is need not be said: the
functions named in `cut` are the library's own, and the same calls that run the student's file run them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np


class Call(NamedTuple):
    """One call of a student's function. Every argument is the name of an input or of an earlier result, or "ops": the
    functions themselves as a table, which blocks take.

    gives: names for the returned values, one name for one value, several for a tuple of that many; a name that is no
    `Output` (a cache) is passed on and not graded. changes: inputs that the function must overwrite in place, graded
    under their own names (an optimizer step); all other inputs must be left as they were.
    """

    function: str
    arguments: tuple[str, ...]
    gives: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def pair(name, arrays, options=(), gradients=None):
    """The calls of an op pair: out, cache = name_forward(*arrays, *options); gradients = name_backward(dout, cache)."""
    gradients = gradients or tuple(f"d{array}" for array in arrays)
    return (
        Call(f"{name}_forward", (*arrays, *options), ("out", "cache")),
        Call(f"{name}_backward", ("dout", "cache"), tuple(gradients)),
    )


class Draw:
    """Where inputs come from: normal numbers for grading, small integers for an example a person can follow."""

    def __init__(self, seed, small=False):
        self.rng, self.small = np.random.default_rng(seed), small

    def normal(self, *shape, scale=1.0, shift=0.0):
        """Float64, normal with this standard deviation and mean; small: whole numbers from -3 to 3."""
        if self.small:
            return self.rng.integers(-3, 4, shape).astype(np.float64)
        return shift + scale * self.rng.standard_normal(shape)

    def integers(self, low, high, *shape):
        """Int64 from low to high - 1; a Python int when no shape is given."""
        drawn = self.rng.integers(low, high, shape)
        return drawn if shape else int(drawn)

    def choose(self, *values):
        """One of the values."""
        return values[self.rng.integers(len(values))]


@dataclass(frozen=True)
class Output:
    """One graded result, and how it can go wrong.

    model(inputs, **knobs) rebuilds the result from the inputs alone. With no knob turned it is right; each knob in
    `knobs` ({knob: {wrong value: what the student did}}) computes what that mistake computes. It returns either the
    result itself, or {term: array} whose combination with the coefficients `right` is the result. Then the student's
    result is also fitted as a combination of the terms, and a coefficient that is 0, negated or off by a readable
    factor is a mistake that need not be listed. A term whose right coefficient is 0 is one that some add by mistake.
    scales: {factor: note}, a note to add where a coefficient is off by that factor ("D", "1/N").
    invariants: (holds(value, inputs) -> bool, hint) pairs; the hint is given where no mistake is recognised.
    parts: the outputs of the functions that make this one. Where they are right it has none of their mistakes.
    """

    name: str
    model: Callable[..., Any]
    right: dict[str, float] = field(default_factory=dict)
    knobs: dict[str, dict[Any, str]] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    invariants: tuple[tuple[Callable[[Any, dict], bool], str], ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """cut: the library's functions that the student writes. given: functions that the file brings along whole; they may
    use those in cut, and calls may use them.

    inputs(draw, **sizes) -> {name: array, number or None}; sizes: at least four of them, different on every axis, for
    grading; small: the sizes of the examples shown, smallest first. calls(inputs) -> the calls to make. dims(inputs)
    -> {letter: size}, the names that factors are given in. readable(inputs): whether an example is worth showing.
    ops: which of the functions take the place of ops in a training run (empty: none).
    memory: (sizes, bytes, what holds more): how much a function of cut may allocate at a time on a case of these sizes.
    """

    name: str
    title: str
    task: str  # what to write, in the words of the file that `start` makes: shapes, formula, paper
    cut: tuple[Callable, ...]
    inputs: Callable[..., dict]
    calls: Callable[[dict], tuple[Call, ...]]
    outputs: tuple[Output, ...]
    sizes: tuple[dict, ...]
    small: tuple[dict, ...]
    dims: Callable[[dict], dict] = lambda inputs: {}
    given: tuple[Callable, ...] = ()
    readable: Callable[[dict], bool] = lambda inputs: True
    ops: tuple[str, ...] = ()
    memory: tuple[dict, int, str] | None = None
    variants: dict[str, "Exercise"] = field(default_factory=dict)

    def case(self, sizes, seed, small=False):
        """The inputs of one case: a pure function of the sizes and the seed."""
        return self.inputs(Draw(seed, small), **sizes)

    def cases(self, seed=0):
        """The inputs used for grading."""
        return [self.case(sizes, seed * len(self.sizes) + number) for number, sizes in enumerate(self.sizes)]

    def right_answer(self, inputs):
        """{output: value}: the library's own functions, run by the same calls."""
        functions = {function.__name__: function for function in self.given + self.cut}
        return run_calls(functions, self.calls(inputs), inputs)


def run_calls(functions, calls, inputs):
    """Runs the calls on copies of the inputs; returns every named result and every changed input."""
    known = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in inputs.items()}
    known["ops"] = SimpleNamespace(**functions)
    results = {}
    for call in calls:
        returned = functions[call.function](*(known[name] for name in call.arguments))
        named = zip(call.gives, returned if len(call.gives) > 1 else (returned,))
        results |= dict(named) | {name: known[name] for name in call.changes}
        known |= results
    return results
