"""Which mistake gives exactly these numbers?

A student's result is held against what each known mistake computes, on several inputs of different sizes: every flavour
of mistake (a knob of the exercise's `Output`), alone and two at a time, and under each flavour the terms of the formula
with any coefficients (least squares). A mistake is named only where it reproduces the numbers to rounding; two that
reproduce them equally well, with equally few assumptions, are both named; where none does, that is said.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

EXACT = 1e-7  # relative; two formulas that differ do so by more on random inputs, rounding in float64 is below 1e-10
READABLE = 1e-5  # how far a fitted coefficient may be from a factor that has a name
MOST_KNOBS = 2  # mistakes that are looked for at the same time


@dataclass(frozen=True)
class Explanation:
    """One way to get the student's numbers: `parts` are (id, sentence), one for each thing that went wrong."""

    parts: tuple[tuple[str, str], ...]

    @property
    def ids(self):
        return frozenset(part for part, _ in self.parts)

    def __str__(self):
        return ", and ".join(sentence for _, sentence in self.parts)


def same(value, expected, tolerance=EXACT):
    """Whether two results are equal: arrays to a relative tolerance (of the largest element), all else by ==."""
    if isinstance(expected, np.ndarray | np.generic | float):
        value, expected = numbers(value), numbers(expected)
        if value is None or value.shape != expected.shape:
            return False
        if not (np.isfinite(value).all() and np.isfinite(expected).all()):  # inf <= tolerance * inf
            return np.array_equal(value, expected)
        gap = np.abs(value - expected).max(initial=0.0)
        return bool(gap <= tolerance * max(np.abs(expected).max(initial=0.0), np.abs(value).max(initial=0.0)))
    if isinstance(expected, dict):
        return isinstance(value, dict) and value.keys() == expected.keys() and all(
            same(value[key], each, tolerance) for key, each in expected.items()
        )  # fmt: skip
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(expected) and all(
            same(a, b, tolerance) for a, b in zip(value, expected)
        )  # fmt: skip
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    numeric = isinstance(expected, int) and isinstance(value, int | float | np.number)  # a count may be NumPy's
    return bool((numeric or type(value) is type(expected)) and value == expected)


def numbers(value):
    """value as a float64 array, or None where it is not made of real numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def diagnose(exercise, output, cases, values):
    """The explanations of a wrong result: `values` are the student's, one for each of the cases. Empty: not a known
    mistake. Each explanation reproduces every value; all have the same, smallest number of parts."""
    dims = [exercise.dims(inputs) for inputs in cases]
    best, found = math.inf, {}
    for count in range(MOST_KNOBS + 1):
        if best <= count:
            break  # more knobs are more assumptions
        for knobs in combinations(output.knobs, count):
            parts = explain(output, knobs, cases, values, dims)
            if parts and len(parts) <= best:
                found = found if len(parts) == best else {}
                best = len(parts)
                found[frozenset(part for part, _ in parts)] = Explanation(tuple(parts))
    return list(found.values())


def combinations(knobs, count):
    """Every choice of wrong values for `count` different knobs."""
    for names in itertools.combinations(knobs, count):
        for values in itertools.product(*(knobs[name] for name in names)):
            yield dict(zip(names, values))


def explain(output, knobs, cases, values, dims):
    """The parts of one explanation, or None where these knobs do not give these values."""
    fits = []
    for inputs, value in zip(cases, values):
        with np.errstate(all="ignore"):  # what a mistake computes may overflow
            fit = fit_terms(output, output.model(inputs, **knobs), value)
        if fit is None:
            return None
        fits.append(fit)
    parts = [(f"{knob}={wrong}", output.knobs[knob][wrong]) for knob, wrong in knobs.items()]
    if not fits[0]:  # an output without terms
        return parts
    coefficients = name_coefficients(output, fits, dims)
    return None if coefficients is None else parts + coefficients


def fit_terms(output, model, value):
    """{term: coefficient} with which the model gives the value; {} where it has none and is equal; else None."""
    if not isinstance(model, dict) or not output.right:
        if isinstance(model, np.ndarray | np.generic | float) and not output.right:
            model = {"": np.asarray(model)}  # a result of numbers may still be off by a factor
        else:
            return {} if same(value, model) else None
    value = numbers(value)
    shapes = {np.shape(term) for term in model.values()}
    if value is None or shapes != {value.shape} or not np.isfinite(value).all():
        return None
    right = output.right or {"": 1.0}
    if same(value, sum(coefficient * model[term] for term, coefficient in right.items())):
        return right  # also where terms vanish or depend on each other, so that no fit could tell
    columns = np.stack([np.ravel(term) for term in model.values()], 1)
    if not np.isfinite(columns).all():
        return None
    size = np.abs(columns).max(0, initial=0.0)
    if not size.all():  # a term that vanishes on this input: its coefficient cannot be read
        return None
    solution, _, rank, _ = np.linalg.lstsq(columns / size, value.ravel(), rcond=1e-10)
    gap = np.abs(columns / size @ solution - value.ravel()).max(initial=0.0)
    if rank < columns.shape[1] or gap > EXACT * np.abs(value).max(initial=1e-300):
        return None
    return dict(zip(model, solution / size))


def name_coefficients(output, fits, dims):
    """A part for each term whose coefficient is wrong, [] when all are right, None when one has no readable value."""
    right = output.right or {"": 1.0}
    wrong = {}
    for term, expected in right.items():
        ratios = [fit[term] / (expected or 1.0) for fit in fits]
        factor = name_factor(ratios, dims)
        if factor is None:
            return None
        if factor != ("1" if expected else "0"):
            wrong[term] = factor
    whole = {wrong.get(term, "1") for term, expected in right.items() if expected}
    if len(whole) == 1 and len(wrong) == sum(expected != 0 for expected in right.values()) > 0 and "0" not in whole:
        factor = whole.pop()
        if factor != "1":
            return [(f"whole:{factor}", sentence(f"the whole of {output.name}", factor, output.scales))]
    return [
        (f"{term}:{factor}", sentence(f"the {term} term", factor, output.scales, extra=not right[term]))
        for term, factor in wrong.items()
    ]


def sentence(what, factor, notes, extra=False):
    """sentence("the mean term", "D", {"D": "a sum where a mean belongs"}) -> "the mean term is D times the right one
    (a sum where a mean belongs)"."""
    note = f" ({notes[factor]})" if factor in notes else ""
    if extra:
        return f"{what} does not belong there{note}"
    return (
        what + {"0": " is missing", "-1": " has the wrong sign"}.get(factor, f" is {factor} times the right one") + note
    )


def name_factor(ratios, dims):
    """The name of the factor that all ratios are, in terms of each case's sizes: "0", "-1", "1/2", "D", "N/D"...;
    the simplest where several fit, None where none does."""
    for name, values in factors(dims):
        for sign, prefix in ((1.0, ""), (-1.0, "-")):
            if all(
                abs(ratio - sign * value) <= READABLE * max(abs(value), 1e-3) for ratio, value in zip(ratios, values)
            ):
                return prefix * (name != "0") + name
    return None


def factors(dims):
    """(name, its value in each case), the simplest first."""
    constant = {"0": 0.0, "1": 1.0, "2": 2.0, "1/2": 0.5, "3": 3.0, "1/3": 1 / 3, "4": 4.0, "1/4": 0.25}
    yield from ((name, [value] * len(dims)) for name, value in constant.items())
    letters = list(dims[0])
    for a in letters:
        d = [case[a] for case in dims]
        yield a, d
        yield f"1/{a}", [1 / x for x in d]
        yield f"sqrt({a})", [math.sqrt(x) for x in d]
        yield f"1/sqrt({a})", [1 / math.sqrt(x) for x in d]
        yield f"2*{a}", [2 * x for x in d]
        yield f"2/{a}", [2 / x for x in d]
        yield f"{a}/2", [x / 2 for x in d]
        yield f"{a}^2", [x * x for x in d]
        yield f"1/{a}^2", [1 / (x * x) for x in d]
        if min(d) > 1:
            yield f"({a}-1)", [x - 1 for x in d]
            yield f"1/({a}-1)", [1 / (x - 1) for x in d]
            yield f"{a}/({a}-1)", [x / (x - 1) for x in d]
            yield f"({a}-1)/{a}", [(x - 1) / x for x in d]
    for a, b in itertools.permutations(letters, 2):
        yield f"{a}/{b}", [case[a] / case[b] for case in dims]
        if a < b:
            yield f"{a}*{b}", [case[a] * case[b] for case in dims]
            yield f"1/({a}*{b})", [1 / (case[a] * case[b]) for case in dims]
