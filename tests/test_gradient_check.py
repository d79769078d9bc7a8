"""The numeric gradients themselves: exact where they should be, and reports that say what is wrong."""

import numpy as np
import pytest

from scratchgpt.check.derivatives import (
    central_difference_gradient,
    check_gradients,
    complex_step_gradient,
    relative_error,
)


def scaled_sine(x, scale):
    return np.sin(x) * scale, (x, scale)


def scaled_sine_backward(dout, cache):
    x, scale = cache
    return dout * np.cos(x) * scale, (dout * np.sin(x)).sum()


ARRAYS = {"x": np.linspace(-2, 3, 6).reshape(2, 3), "scale": np.array(1.7)}


def test_complex_step_is_exact_to_rounding():
    x = np.linspace(-2, 2, 7)
    gradient = complex_step_gradient(lambda x: (np.exp(x) * np.sin(x)).sum(), x)
    assert relative_error(gradient, np.exp(x) * (np.sin(x) + np.cos(x))) < 1e-15


def test_central_differences_are_right_to_ten_digits():
    x = np.linspace(-2, 2, 7)
    gradient = central_difference_gradient(lambda x: (np.exp(x) * np.sin(x)).sum(), x)
    assert relative_error(gradient, np.exp(x) * (np.sin(x) + np.cos(x))) < 1e-10


def test_numeric_gradients_leave_their_input_as_it_was():
    x = np.ones(3)
    x.flags.writeable = False
    assert central_difference_gradient(np.sum, x) == pytest.approx(np.ones(3), rel=1e-10)
    assert complex_step_gradient(np.sum, x).tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", ["complex_step", "central_difference"])
def test_a_right_backward_gets_ok_for_each_array(method):
    reports = check_gradients(scaled_sine, scaled_sine_backward, ARRAYS, method=method)
    assert [report.name for report in reports] == ["dx", "dscale"]
    assert all(report.ok and str(report).endswith("ok") for report in reports)


def test_a_wrong_element_is_named():
    def backward(dout, cache):
        dx, dscale = scaled_sine_backward(dout, cache)
        dx[1, 2] += 0.5
        return dx, dscale

    dx, dscale = check_gradients(scaled_sine, backward, ARRAYS)
    assert not dx.ok and dx.worst == (1, 2) and dx.given - dx.expected == pytest.approx(0.5)
    assert "WRONG, worst at (1, 2)" in str(dx) and dscale.ok


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dout, cache: (np.full((2, 3), np.nan), scaled_sine_backward(dout, cache)[1]),
        lambda dout, cache: (None, scaled_sine_backward(dout, cache)[1]),
        lambda dout, cache: (scaled_sine_backward(dout, cache)[0].T, scaled_sine_backward(dout, cache)[1]),
        lambda dout, cache: (scaled_sine_backward(dout, cache)[0][:1], scaled_sine_backward(dout, cache)[1]),
    ],
    ids=["NaN", "missing", "transposed", "too short"],
)
def test_a_gradient_that_is_no_answer_is_wrong(wrong):
    dx, dscale = check_gradients(scaled_sine, wrong, ARRAYS)
    assert not dx.ok and dx.relative_error == np.inf and "WRONG" in str(dx) and dscale.ok


def test_a_gradient_that_was_not_returned_is_wrong():
    dx, dscale = check_gradients(scaled_sine, lambda dout, cache: scaled_sine_backward(dout, cache)[0], ARRAYS)
    assert dx.ok and not dscale.ok


def test_rounding_on_a_gradient_that_is_zero_is_no_error():
    assert relative_error(np.array([1e-16, 0.0]), np.zeros(2)) < 1e-10
    assert relative_error(np.zeros(0), np.zeros(0)) == 0
    assert relative_error(np.array([2e-5]), np.array([1e-5])) == pytest.approx(0.5)
