"""Derivatives by numbers alone: the truth that a backward is held against.

    derivative(np.tanh, x, dout)        # d sum(dout * tanh(x)) / dx, with the method that found it

The complex step is exact to rounding, but only where every line of the function is analytic, and a function does not
say whether it is: np.abs drops the imaginary part without a word. So it is tried, and believed if along one random
direction every output moves as differences of real numbers say. Elsewhere each element is differentiated by
differences, and where the slopes from the left and from the right disagree there is a kink and no derivative.
"""

import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

NEGLIGIBLE = 1e-5  # gradients that are nowhere larger are compared as if they were this large: where the true gradient
# is 0, all that is left on both sides is rounding
COMPLEX_STEP = 1e-30
STEPS = (2e-3, 2e-4, 2e-5, 2e-6, 2e-7)  # of the differences: smaller ones step less far over a kink near by
SIDES = 2e-4  # the step whose one-sided slopes are given at a kink
SMOOTH = 1e-7  # slopes from left and right that are this close, relatively, are one slope
EPS, TINY = 2.0**-52, 2.0**-1022  # of float64


class Derivative(NamedTuple):
    """What is known of d sum(dout * f(x)) / dx; every array has x's shape.

    noise: how far rounding alone may put value off. reach: sum |dout df/dx| over the outputs, what value would be if
    nothing cancelled. kinks: {index: (low, high)}, elements with no derivative; any number from low to high is right.
    """

    value: np.ndarray
    method: str
    noise: np.ndarray
    reach: np.ndarray
    kinks: dict


def derivative(f, x, dout=1.0, seed=0):
    """The Derivative of sum(dout * f(x)) at a float64 array: by the complex step where it can be trusted, by
    differences elsewhere. f(x) -> an array, and neither changes x nor draws random numbers."""
    x = np.array(x, np.float64)
    trusted = complex_step_is_right(f, x, random_direction(x, seed))
    return by_complex_step(f, x, dout) if trusted else by_differences(f, x, dout)


@contextmanager
def quietly():
    """Points beside x may overflow or leave f's domain: that is no concern of the caller's."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def random_direction(x, seed):
    """A step for every element at once, none of them near 0, each in proportion to its element's size."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1.5, x.shape) * rng.choice((-1.0, 1.0), x.shape) * np.maximum(1, np.abs(x))


def unit_steps(x):
    """(index, step along that element alone, its size) for every element."""
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = size = max(1.0, abs(x[index]))
        yield index, step, size


@quietly()
def by_complex_step(f, x, dout=1.0):
    """df/dx = Im f(x + ih) / h with h = 1e-30: no difference of nearby numbers, so exact to rounding (Squire & Trapp
    1998). Every line of f must be analytic: no abs, no conjugate, comparisons on real parts alone."""
    value, reach = np.empty(x.shape), np.empty(x.shape)
    for index, step, size in unit_steps(x):
        parts = dout * complex_slope(f, x, step) / size
        value[index], reach[index] = parts.sum(), np.abs(parts).sum()
    return Derivative(value, "complex step", np.zeros(x.shape), reach, {})


def complex_slope(f, x, step):
    """d f(x + t step) / dt at t = 0, for each output."""
    return np.imag(f(x + COMPLEX_STEP * 1j * step)) / COMPLEX_STEP


@quietly()
def complex_step_is_right(f, x, direction):
    """Whether f takes complex numbers and every output has the slope along direction that differences give it. A
    derivative that is wrong in any element is wrong along a random direction."""
    try:
        slope = complex_slope(f, x, direction)
    except Exception:  # f is anybody's: whatever code that was not written for complex numbers does with them
        return False
    true = slopes(f, x, direction)
    allowed = SMOOTH * np.max(np.abs(true.central), initial=0.0) + true.noise
    return bool(np.all(~true.kink & (np.abs(slope - true.central) <= allowed)))


@quietly()
def by_differences(f, x, dout=1.0):
    """Central differences extrapolated to a step of 0 (Richardson 1911), right to 1e-9 or so; at a kink, both sides."""
    value, noise, reach, kinks = np.empty(x.shape), np.empty(x.shape), np.empty(x.shape), {}
    for index, step, size in unit_steps(x):
        slope = slopes(f, x, step)
        ends = np.sort([dout * slope.left / size, dout * slope.right / size], axis=0)
        parts = np.where(slope.kink, ends.mean(0), dout * slope.central / size)
        value[index], reach[index] = parts.sum(), np.abs(parts[~slope.kink]).sum()
        noise[index] = (np.abs(dout) * slope.noise).sum() / size
        if slope.kink.any():  # each output may take either side
            low, high = (np.where(slope.kink, end, parts).sum() for end in ends)
            kinks[index] = (float(low), float(high)) if np.isfinite(low + high) else (-np.inf, np.inf)
    return Derivative(value, "central differences", noise, reach, kinks)


class Slopes(NamedTuple):
    """For each output: its slope, where `kink` is false; otherwise its slopes on either side, infinite at a jump."""

    central: np.ndarray
    left: np.ndarray
    right: np.ndarray
    kink: np.ndarray
    noise: np.ndarray


def slopes(f, x, step):
    """The Slopes of f(x + t step) at t = 0.

    With D(h) = (f(h) - f(-h)) / 2h, (4 D(h/2) - D(h)) / 3 is off by O(h^4); with R(h) = (f(h) - f(0)) / h, the slope on
    the right, 2 R(h/2) - R(h), by O(h^2), as is the left's. An output is done at the first step at which both sides
    agree: then no kink is in reach. One whose sides never agree has a kink at x (or within 2e-7 of it).
    """
    centre = np.asarray(f(x), np.float64)
    central, noise = np.zeros(centre.shape), np.zeros(centre.shape)
    kink = np.ones(centre.shape, bool)
    for h in STEPS:
        far, near, back, behind = (np.asarray(f(x + t * step), np.float64) for t in (h, h / 2, -h / 2, -h))
        right, left = (4 * near - far - 3 * centre) / h, (3 * centre - 4 * back + behind) / h
        rounding = 100 * EPS * np.max(np.abs(centre), initial=0.0) / h
        agree = np.abs(right - left) <= SMOOTH * np.maximum(np.abs(right), np.abs(left)) + rounding + 1e-12
        done = kink & agree & np.isfinite(right - left)
        central[done] = ((8 * (near - back) - (far - behind)) / (6 * h))[done]
        noise[done] = rounding
        kink &= ~done
        if h == SIDES:
            sides = left, right
        if not kink.any():
            return Slopes(central, left, right, kink, noise)
    # a jump: what the values do over the step does not shrink with it, so the slope grows a thousandfold from SIDES
    jump = np.abs(right) + np.abs(left) > 30 * (np.abs(sides[0]) + np.abs(sides[1])) + rounding
    left, right = np.where(jump, -np.inf, sides[0]), np.where(jump, np.inf, sides[1])
    return Slopes(central, left, right, kink, noise)


@quietly()
def working_precision(f, x, seed=0):
    """How far f's values are off any smooth curve, relative to the largest: about 1e-16, or 1e-7 where f works in
    float32. Fourth differences of a smooth function vanish, rounding does not (Hamming 1973, chapter 6)."""
    direction = random_direction(x, seed)
    noise, largest = [], TINY
    for side in (direction, -direction):  # beside x, where there may be a kink; twice, for there may be one beside it
        values = np.array([f(x + (0.01 + 1e-7 * k) * side) for k in range(5)], np.float64)
        values[~np.isfinite(values)] = np.nan  # outside f's domain
        noise.append(np.abs(np.tensordot([1, -4, 6, -4, 1], values, 1)) / 70**0.5)
        largest = np.nanmax(np.abs(values), initial=largest)
    return float(np.nanmax(np.fmin(*noise), initial=0.0) / largest)


@quietly()
def nearly_flat(f, x, dout, value, seed=0):
    """Whether most of the elements that have a gradient, moved by 3 standard deviations of x, move the result 100 times
    further than the gradient says: it is a remainder then (layer norm over 2 numbers leaves only eps's)."""
    size = 3 * (float(np.std(x)) or 1.0)
    centre = np.sum(dout * f(x))
    chosen = np.random.default_rng(seed).permutation(np.argwhere(value))[:32]
    flat = 0
    for index in map(tuple, chosen):
        step = np.zeros_like(x)
        step[index] = size
        secant = max(abs(np.sum(dout * f(x + t * step)) - centre) / size for t in (1, -1))
        flat += bool(abs(value[index]) < 0.01 * secant)
    return 2 * flat > len(chosen)


def relative_error(a, b, noise=0.0, negligible=NEGLIGIBLE):
    """max(|a - b| - noise, 0) / max(|a|, |b|, negligible), maxima over all elements: 0 to 2, infinite if a or b holds a
    NaN or an infinity."""
    difference = np.max(np.maximum(np.abs(a - b) - noise, 0), initial=0.0)
    scale = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0), negligible)
    if not np.isfinite(difference):
        return np.inf
    return float(difference / scale) if difference else 0.0
