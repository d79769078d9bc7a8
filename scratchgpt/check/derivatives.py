"""Is a backward the derivative of its forward? Numeric gradients, and a report for each array.

    reports = check_gradients(layer_norm_forward, layer_norm_backward, {"x": x, "weight": weight, "bias": bias}, seed=0)
    print(*reports, sep="\\n")      # dx (2, 3, 5): relative error 3.1e-16, ok

A check sees only what it looks at. The scalar that is differentiated is sum(dout * out) with a random dout: under
out.sum() the softmax and layer norm have constant sums, and most wrong backwards pass.
"""

import inspect
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-6  # far above both methods' own errors (1e-15 and 1e-10), far below any mistake in a formula
NEGLIGIBLE = 1e-5  # a gradient that is nowhere larger than this is compared as if it were this large: where the true
# gradient is 0, all that is left on both sides is rounding
COMPLEX_STEP = 1e-30
CENTRAL_STEP = 2e-3


def complex_step_gradient(f, x):
    """d f / d x for a real-valued analytic f of a float64 array: Im f(x + i h e) / h for each unit vector e, h = 1e-30.

    There is no difference of nearby numbers, hence no cancellation: exact to rounding (Squire & Trapp 1998). Every
    step inside f must be analytic: no abs, no conjugate, comparisons on .real alone.
    """
    x = np.array(x, np.complex128)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = moved(f, x, index, COMPLEX_STEP * 1j).imag / COMPLEX_STEP
    return gradient


def central_difference_gradient(f, x):
    """d f / d x for a smooth f of a float64 array: central differences at h and h/2, extrapolated to h = 0.

    D(h) = (f(x + h) - f(x - h)) / 2h is off by c h^2 + O(h^4), so (4 D(h/2) - D(h)) / 3 is off by O(h^4) (Richardson
    1911): 1e-10 or less with h = 2e-3 and x of order 1.
    """
    x = np.array(x, np.float64)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        wide, narrow = (
            (moved(f, x, index, h) - moved(f, x, index, -h)) / (2 * h) for h in (CENTRAL_STEP, CENTRAL_STEP / 2)
        )
        gradient[index] = (4 * narrow - wide) / 3
    return gradient


def moved(f, x, index, step):
    """f of x with one element moved by step."""
    x = x.copy()
    x[index] += step
    return f(x)


METHODS = {"complex_step": complex_step_gradient, "central_difference": central_difference_gradient}


def relative_error(a, b):
    """max |a - b| / max(|a|, |b|, NEGLIGIBLE), maxima over all elements: 0 to 2, infinite if a or b holds a NaN."""
    difference = np.max(np.abs(a - b), initial=0.0)
    scale = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0), NEGLIGIBLE)
    return float(difference / scale) if np.isfinite(difference) else np.inf


@dataclass(frozen=True)
class GradientReport:
    """How far one gradient is from the numeric one; `worst` is the index of the largest difference."""

    name: str
    shape: tuple
    relative_error: float
    worst: tuple
    given: float
    expected: float

    @property
    def ok(self):
        return self.relative_error <= TOLERANCE

    def __str__(self):
        head = f"{self.name} {self.shape}: relative error {self.relative_error:.1e}, "
        if self.ok:
            return head + "ok"
        return head + f"WRONG, worst at {self.worst}: given {self.given:.6g}, expected {self.expected:.6g}"


def compare_gradient(name, given, expected):
    """The report on one gradient against its truth; a missing gradient or one of another shape is wrong."""
    if given is None or np.shape(given) != expected.shape:
        return GradientReport(f"{name} (given {np.shape(given)})", expected.shape, np.inf, (), np.nan, np.nan)
    if not expected.size:
        return GradientReport(name, expected.shape, 0.0, (), 0.0, 0.0)
    given = np.asarray(given)
    difference = np.abs(given - expected)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference)), expected.shape)
    worst = tuple(int(i) for i in worst)
    error = relative_error(given, expected)
    return GradientReport(name, expected.shape, error, worst, float(given[worst]), float(expected[worst]))


def numeric_gradients(forward, arrays, dout, method="complex_step"):
    """{name: d sum(dout * out) / d array}, where out, cache = forward(**arrays) and arrays are float64."""
    if method == "complex_step":
        arrays = {name: array.astype(np.complex128) for name, array in arrays.items()}

    def gradient(name):
        return METHODS[method](lambda x: (dout * forward(**arrays | {name: x})[0]).sum(), arrays[name])

    return {name: gradient(name) for name in arrays}


def check_gradients(forward, backward, arrays, seed=0, method="complex_step", dout=None):
    """One GradientReport for each of `arrays`, given as {argument name: float64 array} in the order in which backward
    returns their gradients.

    forward(**arrays) -> out, cache and backward(dout, cache) -> gradients (more of them, for optional arguments that
    were not given, do no harm). dout: standard normal numbers from seed, unless given.
    """
    out, cache = forward(**arrays)
    if dout is None:
        dout = np.random.default_rng(seed).standard_normal(np.shape(out))
    given = backward(dout, cache)
    given = given if isinstance(given, tuple) else (given,)
    given += (None,) * len(arrays)  # a gradient that was not returned is reported
    expected = numeric_gradients(forward, arrays, dout, method)
    return [compare_gradient(f"d{name}", gradient, expected[name]) for name, gradient in zip(arrays, given)]


class Report:
    """The rows of one check, one for each gradient; iterating gives them, str() shows them, `ok` is the verdict."""

    def __init__(self, rows):
        self.rows = rows

    @property
    def ok(self):
        return all(row.ok for row in self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __str__(self):
        return "\n".join(map(str, self.rows))


def gradient(forward, backward, *args, seed=0, dout=None, **options):
    """Is backward the derivative of forward? Returns a Report.

    forward(*args, **options) -> out, cache and backward(dout, cache) -> a gradient for each float array in args. A tuple
    of ints in args is a shape: standard normal numbers from seed are drawn for it.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(arg) if isinstance(arg, tuple) else arg for arg in args]
    names = list(inspect.signature(forward).parameters)
    places = {names[i]: i for i, arg in enumerate(drawn) if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"}

    def call(**arrays):
        return forward(*(arrays.get(name, arg) for name, arg in zip(names, drawn)), **options)

    arrays = {name: drawn[i] for name, i in places.items()}
    return Report(check_gradients(call, backward, arrays, seed, dout=dout))


def assert_gradients(forward, backward, *args, **settings):
    """Raises AssertionError with the report as its message unless gradient(...) is ok: for pytest."""
    report = gradient(forward, backward, *args, **settings)
    assert report.ok, f"\n{report}"
