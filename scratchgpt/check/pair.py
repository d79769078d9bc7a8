"""Is a backward the derivative of its forward? One function for any pair, and a report that says what is wrong.

    print(gradient(layer_norm_forward, layer_norm_backward, (2, 3, 5), (5,), (5,)))

A check sees only what it looks at. What is differentiated is sum(dout * out) with a random dout: under out.sum() a
softmax and a layer norm have constant sums, and most wrong backwards pass. A check that could not have failed says so.
"""

import inspect
from dataclasses import dataclass, field, replace

import numpy as np

from scratchgpt.check.derivatives import NEGLIGIBLE, derivative, nearly_flat, relative_error, working_precision
from scratchgpt.errors import InputError

TOLERANCE = 1e-6  # far above both methods' own errors (1e-15 and 1e-9), far below any mistake in a formula
EXACT = 1e-8  # float64 on both sides is closer than this; with float32 somewhere inside it is not (6e-8)
IMPRECISE = 1e-12  # the relative noise of a forward that does not work in float64 throughout: differences drown in it
ZERO = 1e-10  # of what a gradient could be: below it, it is 0 and the rest is rounding
MOST_ELEMENTS = 20_000  # each costs a run of forward or more
NO_CACHE = object()


@dataclass(frozen=True)
class Row:
    """One gradient beside the numeric one.

    verdict: ok; wrong; vacuous (right, but so would be most mistakes); float32 (right to 7 digits only); unchecked.
    worst: the index of the largest difference; given and expected are the numbers there. kinks: {index: (low, high)},
    the elements where there is no derivative and any number from low to high is accepted.
    """

    name: str
    shape: tuple
    verdict: str
    note: str = ""
    relative_error: float = np.nan
    worst: tuple = ()
    given: float = np.nan
    expected: float = np.nan
    method: str = ""
    kinks: dict = field(default_factory=dict)

    @property
    def ok(self):
        return self.verdict == "ok"

    @property
    def notes(self):
        """What is to be said about the gradient, in lines."""
        lines = [self.note] if self.note else []
        for index, (low, high) in list(self.kinks.items())[:3]:
            accepted = f"anything from {low:.6g} to {high:.6g} is accepted" if np.isfinite(low) else "it jumps"
            lines.append(f"a kink at {index}, where there is no derivative: {accepted}")
        if len(self.kinks) > 3:
            lines.append(f"and {len(self.kinks) - 3} more kinks")
        return lines

    def __str__(self):
        error = "" if np.isnan(self.relative_error) else f"relative error {self.relative_error:.1e}, "
        verdict = "ok" if self.ok else self.verdict.upper()
        return "; ".join([f"{self.name} {self.shape}: {error}{verdict}", *self.notes])

    def to_dict(self):
        """The row as JSON can hold it: null for a number that is not finite."""
        kinks = [
            {"index": list(index), "from": finite(low), "to": finite(high)} for index, (low, high) in self.kinks.items()
        ]
        numbers = {name: finite(getattr(self, name)) for name in ("relative_error", "given", "expected")}
        return vars(self) | numbers | {"shape": list(self.shape), "worst": list(self.worst), "kinks": kinks}


def finite(value):
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Report:
    """A Row for each gradient (iterating gives them), and the problems that are not one gradient's alone. A report is
    true when it is ok."""

    rows: list
    problems: list

    @property
    def ok(self):
        """Every gradient was checked and is right, and nothing else is wrong."""
        return all(row.ok for row in self.rows) and not self.problems

    def __bool__(self):
        return self.ok

    def __iter__(self):
        return iter(self.rows)

    def __str__(self):
        table = [("gradient", "shape", "relative error", "method", "verdict")] if self.rows else []
        for row in self.rows:
            error = "" if np.isnan(row.relative_error) else f"{row.relative_error:.1e}"
            method = row.method + (", one-sided at kinks" if row.kinks else "")
            table.append((row.name, str(row.shape), error, method, "ok" if row.ok else row.verdict.upper()))
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in table]
        for number, row in enumerate(self.rows, 1):
            lines[number] = "\n    ".join([lines[number], *row.notes])
        return "\n".join(lines + self.problems)

    def to_dict(self):
        return {"ok": self.ok, "problems": self.problems, "gradients": [row.to_dict() for row in self.rows]}


def gradient(forward, backward, *args, seed=0, dout=None, tolerance=TOLERANCE, constant=(), may_be_zero=(), **options):
    """Compares what backward returns with d sum(dout * out) / d each float array in args, found numerically in float64.

    forward(*args, **options) -> out, cache and backward(dout, cache) -> a gradient for each float array, in order; or,
    without a cache, forward -> out and backward(dout, *args). A tuple of ints in args is a shape: standard normal
    numbers are drawn for it. All other arguments (integers, masks, numbers, and whatever goes by keyword) are passed on
    as they are, and so are the float arrays that `constant` names.

    dout: the upstream gradient; standard normal numbers unless given. tolerance: the largest relative error that is
    right. may_be_zero: names of the arrays whose true gradient is 0 and is meant to be (or True, for all of them);
    otherwise a gradient of 0 is not ok, because most wrong backwards give 0 there too. Choose shapes of a few dozen
    elements, different on every axis.

    Returns a Report. Raises InputError when the pair cannot be called or is no such pair.

    >>> print(gradient(lambda x: (np.sin(x), x), lambda dout, x: dout * np.cos(x), (2, 3)))   # doctest: +SKIP
    gradient  shape   relative error  method        verdict
    dx        (2, 3)  1.7e-16         complex step  ok
    """
    rng = np.random.default_rng(seed)
    constant, zeros = ((names,) if isinstance(names, str) else names for names in (constant, may_be_zero))
    pair = Pair(forward, backward, [ready(arg, rng) for arg in args], options, constant)
    zeros = pair.names if zeros is True else zeros
    pair.refuse_unknown("may_be_zero", zeros)
    if not pair.checked:
        return Report([], ["nothing was differentiated: none of the arguments is a float array or a shape"])
    values, out, cache, problems, obstacle = pair.go_forward()
    if obstacle:
        rows = [Row(f"d{pair.names[i]}", pair.values[i].shape, "unchecked") for i in pair.checked]
        return Report(rows, problems + obstacle)
    dout = np.asarray(rng.standard_normal(out.shape) if dout is None else dout, np.float64)
    if dout.shape != out.shape:
        raise InputError(f"dout has shape {dout.shape}; expected {out.shape}, the shape of what forward returns")
    given, more = pair.go_backward(dout, cache, values)
    size = float(np.abs(dout * out).sum())
    rows = [
        check_one(pair, i, each, dout, size, tolerance, pair.names[i] in zeros, seed)
        for i, each in zip(pair.checked, given)
    ]
    return Report(rows, problems + more)


def assert_gradients(forward, backward, *args, **settings):
    """Raises AssertionError, with the report as its message, unless gradient(forward, backward, *args, ...) is ok.

    def test_layer_norm_backward_is_the_derivative_of_forward():
        assert_gradients(layer_norm_forward, layer_norm_backward, (2, 3, 5), (5,), (5,), eps=0.1)
    """
    __tracebackhide__ = True  # pytest shows the line of the test, not this one
    report = gradient(forward, backward, *args, **settings)
    if not report.ok:
        raise AssertionError(f"the gradients are not ok\n{report}")


def ready(arg, rng):
    """An argument as forward receives it: shapes drawn, float arrays in float64."""
    if isinstance(arg, tuple) and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in arg):
        if any(n < 0 for n in arg):
            raise InputError(f"{arg} is no shape; expected sizes of 0 or more")
        return np.asarray(rng.standard_normal(arg))
    if isinstance(arg, np.ndarray) and arg.dtype.kind in "cO":
        raise InputError(f"an array of {arg.dtype} cannot be differentiated; expected floats")
    return arg.astype(np.float64) if isinstance(arg, np.ndarray) and arg.dtype.kind == "f" else arg


class Pair:
    """forward and backward with their arguments. `checked`: the places, in `values`, of the arrays to differentiate."""

    def __init__(self, forward, backward, args, options, constant):
        self.forward, self.backward, self.n_args = forward, backward, len(args)
        self.names = argument_names(forward, args, options)
        self.values = [*args, *options.values()]
        self.refuse_unknown("constant", constant)
        self.floats = [i for i, arg in enumerate(args) if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"]
        self.checked = [i for i in self.floats if self.names[i] not in constant]
        for i in self.checked:
            if args[i].size > MOST_ELEMENTS:
                raise InputError(
                    f"{self.names[i]} has {args[i].size:,} elements and each takes a run of forward; a wrong formula "
                    "shows at a few dozen: choose a smaller shape"
                )

    def refuse_unknown(self, option, names):
        unknown = set(names) - set(self.names)
        if unknown:
            raise InputError(f"{option} names {', '.join(sorted(unknown))}; the arguments are {', '.join(self.names)}")

    def split(self, values):
        """(positional arguments, keywords)."""
        return values[: self.n_args], dict(zip(self.names[self.n_args :], values[self.n_args :]))

    def run(self, values):
        """(out, cache) of forward, NO_CACHE where it returns out alone."""
        args, options = self.split(values)
        returned = self.forward(*args, **options)
        if not isinstance(returned, tuple):
            return returned, NO_CACHE
        if len(returned) != 2:
            raise InputError(
                f"forward returned {len(returned)} things; expected out, cache, or out alone for backward(dout, *args)"
            )
        return returned

    def output_of(self, place):
        """out as a function of one array, which may be complex: then the others that are differentiated are too."""

        def output(x):
            values = copies(self.values)
            for i in self.checked:
                values[i] = x.copy() if i == place else values[i].astype(x.dtype)
            return np.asarray(self.run(values)[0])

        return output

    def go_forward(self):
        """(values as forward left them, out, cache, problems, what keeps the pair from being checked, as a list)."""
        values = copies(self.values)
        out, cache = self.run(values)
        problems = [f"forward overwrites its input {name}" for name in self.changed(values, self.values)]
        if not isinstance(out, np.ndarray | np.generic | float | int):
            raise InputError(f"forward returned a {type(out).__name__} for out; expected an array of floats")
        out = np.array(out)
        if out.dtype.kind != "f":
            raise InputError(f"forward returned {out.dtype} numbers for out; expected an array of floats")
        again = np.asarray(self.run(copies(self.values))[0])
        obstacle = []
        if again.shape != out.shape or not np.allclose(again, out, rtol=1e-12, atol=0, equal_nan=True):
            obstacle = ["forward is not deterministic: two calls on the same inputs differ; fix its random state"]
        elif not np.isfinite(out).all():
            obstacle = [f"forward's output is not finite, first at {first(~np.isfinite(out))}: choose other inputs"]
        return values, out, cache, problems, obstacle

    def go_backward(self, dout, cache, values):
        """(one gradient or None for each of `checked`, problems). values: the arguments as forward left them."""
        before, upstream = copies(values), dout.copy()
        if cache is NO_CACHE:
            args, options = self.split(values)
            args, expected = [upstream, *args], "(dout, *args), because forward returned no cache"
        else:
            args, options, expected = [upstream, cache], {}, "(dout, cache)"
        returned = self.backward(*args, **fitting(self.backward, args, options, expected))
        problems = [f"backward overwrites its input {name}" for name in self.changed(values, before)]
        if not np.array_equal(upstream, dout):
            problems.append("backward overwrites dout")
        given = list(returned) if isinstance(returned, tuple | list) else [returned]
        return self.aligned(copies(given), problems)  # copies: forward may use the same memory again

    def changed(self, values, before):
        """The names of the arrays that differ."""
        for name, value, old in zip(self.names, values, before):
            if isinstance(old, np.ndarray) and not np.array_equal(value, old, equal_nan=old.dtype.kind == "f"):
                yield name

    def aligned(self, given, problems):
        """Finds out which array each returned gradient is for: one for every array that is differentiated, or for every
        float array, or for every argument, None standing for those that have no gradient."""
        while len(given) > len(self.checked) and given[-1] is None:
            given.pop()
        for places in (self.checked, self.floats, range(self.n_args)):
            known = dict(zip(places, given))
            if len(given) == len(places) and all(known[i] is None for i in places if i not in self.floats):
                return [known[i] for i in self.checked], problems
        if len(given) > len(self.checked):
            problems.append(
                f"backward returned {len(given)} gradients for {len(self.checked)} arrays; the last "
                f"{len(given) - len(self.checked)} were not checked"
            )
        return (given + [None] * len(self.checked))[: len(self.checked)], problems


def copies(values):
    return [value.copy() if isinstance(value, np.ndarray) else value for value in values]


def argument_names(forward, args, options):
    """The names of forward's arguments: x, weight; layers[0], layers[1] for *layers; then the keywords."""
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # some builtins have none
        return [*(f"arg{i}" for i in range(len(args))), *options]
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise InputError(f"forward takes {signature}; the arguments given do not fit: {error}") from None
    names = []
    for name, parameter in signature.parameters.items():
        if parameter.kind == parameter.VAR_POSITIONAL:
            names += [f"{name}[{i}]" for i in range(len(args) - len(names))]
        names.append(name)
    return [*names[: len(args)], *options]


def fitting(backward, args, options, expected):
    """The keywords that backward takes of forward's. Raises InputError when it cannot be called at all."""
    try:
        signature = inspect.signature(backward)
    except (TypeError, ValueError):  # some builtins have none
        return options
    parameters = signature.parameters.values()
    if not any(each.kind == each.VAR_KEYWORD for each in parameters):
        options = {name: value for name, value in options.items() if name in signature.parameters}
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise InputError(f"backward takes {signature}; expected {expected}: {error}") from None
    return options


def first(mask):
    """The index of the first true element."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


def check_one(pair, place, given, dout, size, tolerance, zero_is_fine, seed):
    """The Row of one array's gradient. size: sum |dout * out|."""
    name, x, output = pair.names[place], pair.values[place], pair.output_of(place)
    noise = working_precision(output, x, seed)
    if noise > IMPRECISE:
        note = f"forward works to {noise:.0e} only, too coarse to differentiate: float32 inside?"
        return Row(f"d{name}", x.shape, "unchecked", note)
    truth = derivative(output, x, dout, seed)
    # what the gradient could be: d out / dx is about out / x where nothing cancels
    could_be = max(size / max(1.0, np.max(np.abs(x), initial=0.0)), np.max(truth.reach, initial=0.0))
    row = compare(f"d{name}", given, truth, tolerance, NEGLIGIBLE * min(1.0, could_be))
    if not row.ok:
        return row
    note = proves_little(name, x, truth)
    if not note and not zero_is_fine:
        note = true_zero(name, truth, ZERO * could_be)
        if not note and nearly_flat(output, x, dout, truth.value, seed):
            note = f"most of d{name}'s true value is next to 0: its parts cancel or saturate here, and so do mistakes"
        note += note and f" (if that is meant: may_be_zero {name})"
    if note:
        return replace(row, verdict="vacuous", note=note)
    if tolerance <= TOLERANCE and is_coarse(given, row.relative_error, truth):
        note = "right to 7 digits only: float32 inside backward, or an approximation"
        return replace(row, verdict="float32", note=note)
    return row


def proves_little(name, x, truth):
    """Why nothing could be seen of x's gradient, or ""."""
    if not x.size:
        return f"{name} has no elements: nothing was checked"
    if len(truth.kinks) == x.size:
        return f"every element of {name} is at a kink, where there is no derivative: choose other inputs"
    return ""


def is_coarse(given, error, truth):
    """Whether a right gradient is further from the truth than float64 is."""
    largest = np.max(np.abs(truth.value))
    coarse = largest > NEGLIGIBLE and error > EXACT + np.max(truth.noise) / largest
    return coarse or np.asarray(given).dtype in (np.float32, np.float16)


def compare(name, given, truth, tolerance, negligible):
    """The Row that says how far a gradient is from the truth: ok or wrong. At a kink the nearest number that is right
    counts as the truth."""
    wrong = no_answer(given, truth.value.shape)
    if wrong:
        return Row(name, truth.value.shape, "wrong", wrong, np.inf, method=truth.method, kinks=truth.kinks)
    given, expected = np.asarray(given), truth.value.copy()
    for index, (low, high) in truth.kinks.items():
        expected[index] = np.clip(given[index], low, high)
    error = relative_error(given, expected, negligible=negligible)
    right = relative_error(given, expected, truth.noise, negligible) <= tolerance
    worst, numbers, note = (), (np.nan, np.nan), ""
    if expected.size:
        worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(given - expected)), expected.shape))
        numbers = float(given[worst]), float(expected[worst])
    if not right:
        note = f"worst at {worst}: given {numbers[0]:.6g}, expected {numbers[1]:.6g}"
    return Row(
        name, expected.shape, "ok" if right else "wrong", note, error, worst, *numbers, truth.method, truth.kinks
    )


def no_answer(given, shape):
    """Why this is not a gradient of that shape, or ""."""
    if given is None:
        return "backward returned no gradient for it"
    array = np.asarray(given)
    if array.dtype.kind not in "fiu":
        return f"backward returned {array.dtype if array.dtype.kind != 'O' else type(given).__name__}; expected floats"
    if array.shape != shape:
        hint = ""
        if len(array.shape) > len(shape) and array.shape[len(array.shape) - len(shape) :] == shape:
            hint = ": not summed over the axes along which it was broadcast"
        elif array.shape == shape[::-1]:
            hint = ": transposed"
        return f"given shape {array.shape}, expected {shape}{hint}"
    bad = ~np.isfinite(array)
    if bad.any():
        return f"{array[bad][0]} at {first(bad)}, and in {bad.sum()} of {array.size} elements in all"
    return ""


def true_zero(name, truth, zero):
    """Why a true gradient of 0 proves nothing, or "" where it is not 0."""
    if np.any(np.abs(truth.value) > zero + truth.noise):
        return ""
    if np.all(truth.reach <= zero + truth.noise):
        return f"{name} does not change the output: the true gradient is 0, as most wrong backwards say too"
    return f"the true gradient is 0: {name} changes the output, but under this dout its parts cancel"
