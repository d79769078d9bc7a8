"""The gradient check itself: it accepts right pairs, rejects wrong ones, and says when it could not have told."""

import json

import numpy as np
import pytest

from scratchgpt.check import assert_gradients, gradient
from scratchgpt.check.derivatives import (
    by_complex_step,
    by_differences,
    derivative,
    random_direction,
    relative_error,
    working_precision,
)
from scratchgpt.errors import InputError
from scratchgpt.ops.reference import layer_norm_backward, layer_norm_forward, linear_backward, linear_forward


def scaled_sine(x, scale):
    return np.sin(x) * scale, (x, scale)


def scaled_sine_backward(dout, cache):
    x, scale = cache
    return dout * np.cos(x) * scale, (dout * np.sin(x)).sum()


def relu(x):
    return np.maximum(x, 0), x


def relu_backward(dout, x):
    return dout * (x > 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    probs = e / e.sum(-1, keepdims=True)
    return probs, probs


def softmax_backward(dout, probs):
    return probs * (dout - (dout * probs).sum(-1, keepdims=True))


def cube(x):
    return x * x * x, x


def cube_backward(dout, x):
    return 3 * dout * x * x


X, SCALE = np.linspace(-2, 3, 6).reshape(2, 3), np.array(1.7)


def only_row(*args, **settings):
    """The row of a check with one array, and no problem besides."""
    report = gradient(*args, **settings)
    (row,) = report
    assert not report.problems and report.ok == row.ok
    return row


# ---- the numbers


def test_complex_step_is_exact_to_rounding():
    x = np.linspace(-2, 2, 7)
    found = by_complex_step(lambda x: (np.exp(x) * np.sin(x)).sum(), x)
    assert relative_error(found.value, np.exp(x) * (np.sin(x) + np.cos(x))) < 1e-15


def test_differences_are_right_to_ten_digits():
    x = np.linspace(-2, 2, 7)
    found = by_differences(lambda x: (np.exp(x) * np.sin(x)).sum(), x)
    true = np.exp(x) * (np.sin(x) + np.cos(x))
    assert relative_error(found.value, true) < 1e-10
    assert np.all(np.abs(found.value - true) <= found.noise + 1e-12) and found.noise.max() < 1e-9  # honest, and small


def test_differences_of_large_and_of_small_inputs_are_right():
    for size in (1e-3, 1e8):  # log leaves its domain one step below 1e-3: a smaller step is taken
        x = size * np.array([1.0, 2.0, 3.0])
        assert relative_error(by_differences(np.log, x, np.ones(3)).value, 1 / x, negligible=0) < 1e-8
        assert derivative(np.log, x, np.ones(3)).method == "complex step"
        off = derivative(lambda x: np.log(x) * (1 + 1e-5 * np.iscomplexobj(x)), x, np.ones(3))
        assert off.method == "central differences"


def test_derivatives_leave_their_input_as_it_was():
    x = np.ones(3)
    x.flags.writeable = False
    for method in (by_complex_step, by_differences, derivative):
        assert method(np.sum, x).value == pytest.approx(np.ones(3), rel=1e-10)


def test_rounding_on_a_gradient_that_is_zero_is_no_error():
    assert relative_error(np.array([1e-16, 0.0]), np.zeros(2)) < 1e-10
    assert relative_error(np.zeros(0), np.zeros(0)) == relative_error(np.zeros(2), np.zeros(2), negligible=0) == 0
    assert relative_error(np.array([2e-5]), np.array([1e-5])) == pytest.approx(0.5)
    assert relative_error(np.array([np.nan]), np.zeros(1)) == np.inf


# ---- which method


def real_buffer(x):
    out = np.empty(x.shape)
    out[...] = np.sin(x)  # an imaginary part is dropped, with a warning
    return out


def one_branch_not_analytic(x):
    return np.where(x.real < 1.2, np.sin(x), np.abs(x))  # few elements take it


NOT_ANALYTIC = {
    "abs": lambda x: np.abs(x) * x,
    "norm": lambda x: x / np.linalg.norm(x),
    "variance": lambda x: x * x.var(-1, keepdims=True),
    "real part": lambda x: np.sin(x.real),
    "conjugate": lambda x: (x * np.conj(x)).real,
    "cast": lambda x: np.sin(x).astype(np.float64),
    "buffer": real_buffer,
    "float": lambda x: np.array([float(value) ** 2 for value in x.ravel()]),
    "one branch": one_branch_not_analytic,
    "refusal": lambda x: np.sin(x) if x.dtype == np.float64 else 1 / 0,
    "another function of complex numbers": lambda x: np.sin(x) if x.dtype == np.float64 else 2 * np.sin(x),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_where_the_complex_step_would_be_wrong_differences_are_taken(name):
    f, x = NOT_ANALYTIC[name], np.random.default_rng(1).uniform(0.3, 1.5, (2, 5))
    dout = np.random.default_rng(2).standard_normal(np.shape(f(x)))
    found = derivative(f, x, dout)
    assert found.method == "central differences" and not found.kinks
    for index in np.ndindex(x.shape):  # against a plain central difference: 1e-9 or so of rounding at this step
        step = np.zeros_like(x)
        step[index] = 1e-5
        plain = (dout * (f(x + step) - f(x - step))).sum() / 2e-5
        assert found.value[index] == pytest.approx(plain, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("f", [np.tanh, lambda x: np.exp(x - x.max()), lambda x: x @ x.T, lambda x: np.maximum(x, 0)])
def test_where_the_complex_step_is_right_it_is_taken(f):
    x = np.random.default_rng(1).standard_normal((2, 5))
    assert derivative(f, x, np.ones(np.shape(f(x)))).method == "complex step"


def test_an_op_that_adds_in_place_takes_complex_numbers():
    report = gradient(linear_forward, linear_backward, (2, 3), (5, 3), (5,))  # out += bias
    assert report.ok and [row.method for row in report] == ["complex step"] * 3


def test_each_array_gets_the_method_that_suits_it():
    def forward(x, w):
        return np.sin(x) * np.abs(w), (x, w)

    def backward(dout, cache):
        x, w = cache
        return dout * np.cos(x) * np.abs(w), (dout * np.sin(x) * np.sign(w)).sum((0, 1))

    dx, dw = gradient(forward, backward, (2, 3, 5), (5,))
    assert dx.ok and dx.method == "complex step"
    assert dw.ok and dw.method == "central differences"


# ---- right and wrong


def test_a_right_backward_gets_ok_for_each_array():
    report = gradient(scaled_sine, scaled_sine_backward, X, SCALE)
    assert report.ok and report and [row.name for row in report] == ["dx", "dscale"]
    assert [row.shape for row in report] == [(2, 3), ()] and not report.problems
    assert all(row.ok and row.method == "complex step" and row.relative_error < 1e-15 for row in report)
    assert len(str(report).splitlines()) == 3 and str(report).count(" ok") == 2


def test_a_wrong_element_is_named():
    def backward(dout, cache):
        dx, dscale = scaled_sine_backward(dout, cache)
        dx[1, 2] += 0.5
        return dx, dscale

    report = gradient(scaled_sine, backward, X, SCALE)
    dx, dscale = report
    assert not report.ok and not report and dx.verdict == "wrong" and dscale.ok
    assert dx.worst == (1, 2) and dx.given - dx.expected == pytest.approx(0.5)
    assert "WRONG" in str(report) and "worst at (1, 2): given" in str(report) and "worst at (1, 2)" in str(dx)


@pytest.mark.parametrize(
    "wrong, told",
    [
        (lambda dx: np.where(dx == dx[1, 2], np.nan, dx), "nan at (1, 2), and in 1 of 6"),
        (lambda dx: np.full((2, 3), np.inf), "inf at (0, 0), and in 6 of 6"),
        (lambda dx: None, "no gradient"),
        (lambda dx: dx.T, "given shape (3, 2), expected (2, 3): transposed"),
        (lambda dx: dx[:1], "given shape (1, 3), expected (2, 3)"),
        (lambda dx: np.stack([dx, dx]), "given shape (2, 2, 3), expected (2, 3): not summed over"),
        (lambda dx: dx + 0j, "complex128"),
        (lambda dx: {"dx": dx}, "dict"),
    ],
)
def test_a_gradient_that_is_no_answer_is_wrong_and_says_why(wrong, told):
    def backward(dout, cache):
        dx, dscale = scaled_sine_backward(dout, cache)
        return wrong(dx), dscale

    dx, dscale = gradient(scaled_sine, backward, X, SCALE)
    assert dx.verdict == "wrong" and told in dx.note and dx.relative_error == np.inf and dscale.ok


def test_a_gradient_that_was_not_returned_is_wrong():
    dx, dscale = gradient(scaled_sine, lambda dout, cache: scaled_sine_backward(dout, cache)[0], X, SCALE)
    assert dx.ok and dscale.verdict == "wrong" and "no gradient" in dscale.note


def test_the_tolerance_is_the_largest_error_accepted():
    def backward(dout, x):
        return cube_backward(dout, x) * (1 + 1e-4)

    assert only_row(cube, backward, (2, 3)).verdict == "wrong"
    assert only_row(cube, backward, (2, 3), tolerance=2e-4).ok
    assert only_row(cube, backward, (2, 3), tolerance=0.9e-4).verdict == "wrong"


def test_a_small_gradient_must_be_right_too():
    # in units in which every number is 1e-12, a factor of 2 is still a factor of 2
    wrong = only_row(lambda x: (1e-12 * np.sin(x), x), lambda dout, x: 2e-12 * dout * np.cos(x), (2, 3))
    assert wrong.verdict == "wrong" and wrong.relative_error == pytest.approx(0.5)
    assert only_row(lambda x: (1e-12 * np.sin(x), x), lambda dout, x: 1e-12 * dout * np.cos(x), (2, 3)).ok


def test_differences_reject_a_relative_error_of_two_in_a_million():
    def forward(x):
        return np.abs(x) * x, x

    assert only_row(forward, lambda dout, x: dout * 2 * np.abs(x), (2, 3)).ok
    wrong = only_row(forward, lambda dout, x: dout * 2 * np.abs(x) * (1 + 2e-6), (2, 3))
    assert wrong.verdict == "wrong" and wrong.method == "central differences"


# ---- what is given


def drawn(seed):
    """What forward and backward receive when only shapes are given."""
    seen = []

    def forward(x, scale):
        seen.append((x, scale))
        return scaled_sine(x, scale)

    def backward(dout, cache):
        seen.append(dout)
        return scaled_sine_backward(dout, cache)

    assert gradient(forward, backward, (10, 20), (), seed=seed).ok
    return seen[0][0], seen[0][1], next(each for each in seen if not isinstance(each, tuple))


def test_shapes_and_dout_are_standard_normal_numbers_from_the_seed():
    x, scale, dout = drawn(seed=0)
    assert x.shape == dout.shape == (10, 20) and scale.shape == ()
    for numbers in (x, dout):  # 200 draws: four standard errors
        assert abs(numbers.mean()) < 4 / 200**0.5 and abs(numbers.std() - 1) < 4 / 400**0.5
    assert not np.array_equal(x, dout)
    assert all(map(np.array_equal, drawn(seed=0), (x, scale, dout)))
    assert not any(map(np.array_equal, drawn(seed=1), (x, scale, dout)))


def test_integers_masks_numbers_and_keywords_are_passed_on_as_they_are():
    ids, visible = np.array([[0, 2], [2, 1]]), np.array([True, False])
    weights = np.array([0.5, 2.0], np.float32)

    def forward(ids, table, power, visible, weights=None, name=""):
        assert power == 3 and name == "rows" and weights.dtype == np.float32 and visible.dtype == bool
        return table[ids] * visible[:, None] * weights[:, None] * power, (ids, table.shape, power, visible, weights)

    def backward(dout, cache):
        ids, shape, power, visible, weights = cache
        dtable = np.zeros(shape)
        np.add.at(dtable, ids, dout * visible[:, None] * weights[:, None] * power)
        return dtable

    row = only_row(forward, backward, ids, (3, 5), 3, visible, weights=weights, name="rows")
    assert row.ok and row.name == "dtable"


def test_a_constant_array_has_no_gradient():
    report = gradient(scaled_sine, lambda dout, cache: scaled_sine_backward(dout, cache)[0], X, SCALE, constant="scale")
    assert report.ok and [row.name for row in report] == ["dx"]


def test_the_gradient_of_a_constant_array_may_be_returned():
    def forward(weights, x, power):
        return weights**power * x, (2 * weights * x, weights**power)

    row = only_row(forward, lambda dout, cache: (dout * cache[0], dout * cache[1]), (3,), (3,), 2, constant="weights")
    assert row.ok and row.name == "dx"


def test_what_backward_returns_may_be_memory_that_forward_uses_again():
    memory = np.empty((2, 3))

    def forward(x):
        memory[:] = x.real
        return x * x, memory

    def backward(dout, memory):
        memory *= 2 * dout
        return memory

    assert only_row(forward, backward, X).ok


def test_float32_arrays_are_checked_in_float64():
    assert gradient(scaled_sine, scaled_sine_backward, X.astype(np.float32), SCALE.astype(np.float32)).ok


def test_the_callers_dout_is_used():
    dout = np.zeros((2, 3))
    dout[1, 2] = 1
    row = only_row(lambda x: (np.sin(x), x), lambda d, x: d * np.cos(x) + (d == 0) * 0.1, X, dout=dout)
    assert row.verdict == "wrong" and row.worst == (0, 0)


def test_a_forward_without_a_cache_goes_with_a_backward_of_dout_and_the_arguments():
    def forward(x, weight, scale=1.0):
        return scale * x @ weight

    def backward(dout, x, weight, scale=1.0):
        return scale * dout @ weight.T, scale * x.T @ dout

    assert gradient(forward, backward, (2, 3), (3, 5)).ok
    assert gradient(forward, backward, (2, 3), (3, 5), scale=3.0).ok
    assert gradient(
        forward, lambda dout, *args, **options: backward(dout, *args, **options), (2, 3), (3, 5), scale=3
    ).ok
    assert not gradient(forward, lambda dout, x, weight: backward(dout, x, weight), (2, 3), (3, 5), scale=3.0).ok


def test_a_loss_may_be_a_number_and_its_gradient_the_cache():
    def loss(x, targets):  # (loss, dx) in one function
        rows, probs = np.arange(len(x)), softmax(x)[0]
        return float(-np.log(probs[rows, targets]).mean()), (probs - np.eye(x.shape[1])[targets]) / len(x)

    def loss_of_any(x, targets):
        rows = np.arange(len(x))
        return -np.log(softmax(x)[0][rows, targets]).mean(), loss(x.real, targets)[1]

    targets = np.array([0, 4, 2])
    for forward, method in ((loss, "central differences"), (loss_of_any, "complex step")):
        row = only_row(forward, lambda dout, dx: dout * dx, (3, 5), targets)
        assert row.ok and row.method == method


@pytest.mark.parametrize(
    "returned, names",
    [
        (lambda dtable, dbias: (dtable, dbias), ["dtable", "dbias"]),
        (lambda dtable, dbias: [dtable, dbias], ["dtable", "dbias"]),
        (lambda dtable, dbias: (None, dtable, dbias), ["dtable", "dbias"]),  # one for each argument
        (lambda dtable, dbias: (dtable, dbias, None), ["dtable", "dbias"]),  # an optional array was not given
        (lambda dtable, dbias: (None, dtable, dbias, None), ["dtable", "dbias"]),
    ],
)
def test_gradients_are_matched_with_their_arrays(returned, names):
    def forward(ids, table, bias):
        return table[ids] + bias, (ids, table.shape)

    def backward(dout, cache):
        dtable = np.zeros(cache[1])
        np.add.at(dtable, cache[0], dout)
        return returned(dtable, dout.sum(0))

    report = gradient(forward, backward, np.array([0, 2, 2]), (3, 5), (5,))
    assert report.ok and [row.name for row in report] == names


def test_a_gradient_too_many_is_a_problem():
    report = gradient(scaled_sine, scaled_sine_backward, X, 1.7)  # a number is not differentiated
    assert [row.ok for row in report] == [True] and not report.ok
    assert "2 gradients for 1 arrays" in str(report)


def test_arrays_are_named_as_forward_names_them():
    report = gradient(lambda *layers: (layers[0] * layers[1], layers), lambda d, c: (d * c[1], d * c[0]), (3,), (3,))
    assert report.ok and [row.name for row in report] == ["dlayers[0]", "dlayers[1]"]
    assert only_row(np.sin, lambda dout, x: dout * np.cos(x), (2, 3)).ok  # a ufunc has no signature to read


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: gradient(cube, cube_backward, (2,), (3,)), "forward takes (x)"),
        (lambda: gradient(cube, cube_backward), "forward takes (x)"),
        (lambda: gradient(cube, lambda dout: dout, (2,)), "backward takes (dout); expected (dout, cache)"),
        (lambda: gradient(np.sin, lambda dout: dout, (2,)), "expected (dout, *args), because"),
        (lambda: gradient(lambda x: (x, x, x), cube_backward, (2,)), "forward returned 3 things"),
        (lambda: gradient(lambda x: (x > 0, x), cube_backward, (2,)), "forward returned bool"),
        (lambda: gradient(lambda x: ("text", x), cube_backward, (2,)), "expected an array of floats"),
        (lambda: gradient(lambda x: ((x, x[:1]), x), cube_backward, (2,)), "forward returned a tuple"),
        (lambda: gradient(cube, cube_backward, (2, -3)), "(2, -3) is no shape"),
        (lambda: gradient(cube, cube_backward, np.ones(2) * 1j), "complex128"),
        (lambda: gradient(cube, cube_backward, (2,), dout=np.ones(3)), "dout has shape (3,); expected (2,)"),
        (lambda: gradient(cube, cube_backward, (2,), constant="y"), "constant names y; the arguments are x"),
        (lambda: gradient(cube, cube_backward, (2,), may_be_zero=("y",)), "may_be_zero names y; the arguments are x"),
        (lambda: gradient(cube, cube_backward, (300, 400)), "120,000 elements"),
    ],
)
def test_what_cannot_be_checked_is_refused_with_a_reason(call, told):
    with pytest.raises(InputError) as refusal:
        call()
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


# ---- kinks


@pytest.mark.parametrize("at_zero", [0.0, 0.3, 1.0])
def test_at_a_kink_either_side_and_anything_between_is_accepted_and_named(at_zero):
    x = np.array([[-1.0, 0.0, 2.0], [3.0, -4.0, 5.0]])
    row = only_row(relu, lambda dout, x: dout * ((x > 0) + at_zero * (x == 0)), x)
    assert row.ok and list(row.kinks) == [(0, 1)]
    low, high = row.kinks[0, 1]
    assert min(abs(low), abs(high)) < 1e-9 and row.method == "central differences"
    assert "a kink at (0, 1)" in str(row) and "a kink at (0, 1)" in str(gradient(relu, relu_backward, x))


@pytest.mark.parametrize("at_zero", [-0.1, 1.1])
def test_at_a_kink_what_is_beyond_both_sides_is_wrong(at_zero):
    x = np.array([[-1.0, 0.0, 2.0], [3.0, -4.0, 5.0]])
    row = only_row(relu, lambda dout, x: dout * ((x > 0) + at_zero * (x == 0)), x)
    assert row.verdict == "wrong" and row.worst == (0, 1)


def test_beside_a_kink_a_wrong_element_is_still_wrong():
    x = np.array([[-1.0, 0.0, 2.0], [3.0, -4.0, 5.0]])
    row = only_row(relu, lambda dout, x: dout * (x > -2), x)
    assert row.verdict == "wrong" and row.worst == (0, 0)


def test_each_output_may_take_its_own_side_of_a_kink():
    # relu(x) and relu(-x): 0 is right for both at x = 0, whatever the sum of their slopes on either side
    def forward(x):
        return np.stack([np.maximum(x, 0), np.maximum(-x, 0)]), x

    def backward(dout, x):
        return dout[0] * (x > 0) - dout[1] * (x < 0)

    for seed in range(8):
        assert only_row(forward, backward, np.array([0.0, 1.0, -1.0]), seed=seed).ok


def test_a_tie_of_a_maximum_is_a_kink():
    def forward(x):
        return x.max(-1), x

    def backward(dout, x):
        return dout[:, None] * (np.arange(x.shape[1]) == x.argmax(-1)[:, None])

    row = only_row(forward, backward, np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]))
    assert row.ok and set(row.kinks) == {(0, 1), (0, 2)}


@pytest.mark.parametrize("distance", [1e-3, 1e-4, 1e-5, 1e-6])
def test_next_to_a_kink_the_derivative_is_found(distance):
    x = np.array([distance, -distance, 2.0])
    found = derivative(lambda x: np.abs(x), x, np.ones(3))
    assert not found.kinks and found.value == pytest.approx([1, -1, 1], abs=1e-6)


def test_the_slope_beside_a_kink_may_be_as_coarse_as_the_numbers_there():
    # 1e-6 from a kink of a sum of order 1e5: the step must be below 1e-6, and 16 digits leave the slope 4 or 5
    x = np.array([1e-6, -1e5])
    row = only_row(lambda x: (np.abs(x).sum(), x), lambda dout, x: dout * np.sign(x), x)
    assert row.ok and not row.kinks and row.relative_error > 1e-6
    assert not only_row(lambda x: (np.abs(x).sum(), x), lambda dout, x: dout * np.sign(x) * 1.001, x).ok


def test_a_vertical_slope_is_told_and_the_rest_is_checked():
    def backward(dout, x):
        return np.divide(0.5 * dout * np.sign(x), np.abs(x) ** 0.5, where=x != 0, out=np.zeros(3))

    for at, forward in ((0.0, lambda x: (np.abs(x) ** 0.5, x)), (1.0, lambda x: (np.sqrt(x), x))):
        row = only_row(forward, backward, np.array([0.0, 1.0, 2.0]))
        assert row.ok and list(row.kinks) == [(0,)] and "it jumps" in str(row), at
        wrong = only_row(forward, lambda dout, x: 1.1 * backward(dout, x), np.array([0.0, 1.0, 2.0]))
        assert wrong.verdict == "wrong" and wrong.worst != (0,)


def test_a_jump_is_a_kink_where_nothing_is_right_or_wrong():
    def forward(x):
        return np.where(x > 1, x, 0.0) + x, x

    for at_one in (0.0, 5.0):
        row = only_row(forward, lambda d, x, at=at_one: d * np.where(x == 1, at, (x > 1) + 1.0), np.array([0.0, 1, 2]))
        assert row.ok and list(row.kinks) == [(1,)] and "it jumps" in str(row)
    row = only_row(forward, lambda d, x: d * np.where(x == 1, np.nan, (x > 1) + 1.0), np.array([0.0, 1, 2]))
    assert row.verdict == "wrong"
    assert derivative(lambda x: forward(x)[0], np.array([0.0, 1, 2]), np.ones(3)).reach == pytest.approx([1, 0, 2])


def test_smooth_functions_have_no_kinks():
    for f in (np.tanh, lambda x: x * x * x * x, lambda x: np.abs(x) * x * x, lambda x: 1e4 * np.sin(30 * x)):
        for x in (np.zeros(3), np.array([-1.0, 0.5, 20.0])):
            assert not by_differences(f, x, np.ones(3)).kinks


# ---- checks that could not have failed


def test_an_argument_that_is_not_used_is_no_ok():
    report = gradient(lambda x, w: (np.sin(x), (x, w)), lambda d, c: (d * np.cos(c[0]), 0 * c[1]), (2, 3), (3,))
    dx, dw = report
    assert dx.ok and dw.verdict == "vacuous" and "w does not change the output" in dw.note and not report.ok
    assert "VACUOUS" in str(report)


def test_softmax_under_a_constant_dout_is_no_ok():
    row = only_row(softmax, softmax_backward, (2, 5), dout=np.ones((2, 5)))
    assert row.verdict == "vacuous" and "cancel" in row.note
    assert only_row(softmax, softmax_backward, (2, 5)).ok


@pytest.mark.parametrize("width, verdict", [(1, "vacuous"), (2, "vacuous"), (3, "ok"), (5, "ok")])
def test_layer_norm_of_width_1_or_2_is_no_ok(width, verdict):
    for seed in range(5):
        for rows in (3, 7):
            report = gradient(layer_norm_forward, layer_norm_backward, (rows, width), (width,), (width,), seed=seed)
            assert report.rows[0].verdict == verdict


def test_a_gradient_that_cancels_to_rounding_is_zero():
    # a shift of all scores; and an output that is itself 0, under a dout along which it does not move
    shift = (
        lambda x, b: (np.exp(x + b) / np.exp(x + b).sum(-1, keepdims=True), x + b),
        lambda dout, z: (softmax_backward(dout, softmax(z)[0]), np.zeros(1)),
    )
    report = gradient(*shift, (2, 5), (1,))
    assert report.rows[0].ok and report.rows[1].verdict == "vacuous"
    assert gradient(*shift, (2, 5), (1,), may_be_zero="b").ok
    centre = (lambda x: (x - x.mean(), None), lambda dout, cache: dout - dout.mean())
    assert only_row(*centre, np.full(7, 0.1), dout=np.full(7, 0.1)).verdict == "vacuous"


def test_an_array_without_elements_is_no_ok():
    row = only_row(lambda x: (x + 1, None), lambda dout, cache: dout, (0, 3))
    assert row.verdict == "vacuous" and "no elements" in row.note


def test_only_kinks_is_no_ok():
    row = only_row(relu, relu_backward, np.zeros((2, 2)))
    assert row.verdict == "vacuous" and len(row.kinks) == 4 and "and 1 more kinks" in str(row)


def test_nothing_to_differentiate_is_no_ok():
    for report in (gradient(cube, cube_backward, 3), gradient(cube, cube_backward, (2,), constant="x")):
        assert not report.ok and not list(report) and "nothing was differentiated" in str(report)


def test_a_gradient_known_to_be_zero_can_be_said_to_be():
    def backward(dout, cache):
        return dout * np.cos(cache[0]), 0 * cache[1]

    arguments = (lambda x, w: (np.sin(x), (x, w)), backward, (2, 3), (3,))
    assert gradient(*arguments, may_be_zero="w").ok and gradient(*arguments, may_be_zero=True).ok
    assert not gradient(*arguments, may_be_zero=["x"]).ok
    wrong = gradient(arguments[0], lambda d, c: (backward(d, c)[0], c[1]), (2, 3), (3,), may_be_zero=True)
    assert wrong.rows[1].verdict == "wrong"


def test_gradients_that_are_zero_here_and_there_are_ok():
    # a causal sum: later inputs do not reach earlier outputs; unused rows of a table have gradient 0
    assert only_row(lambda x: (np.tril(np.ones((5, 5))) @ x, x), lambda d, x: np.triu(np.ones((5, 5))) @ d, (5, 3)).ok
    assert only_row(relu, relu_backward, (3, 5)).ok


# ---- what else goes wrong


def test_an_input_that_forward_overwrites_is_named():
    def forward(x, w):
        y = x.copy()
        x *= w
        return y * y, y

    report = gradient(forward, lambda dout, y: 2 * dout * y, X, SCALE, constant="w")
    assert not report.ok
    assert report.problems == ["forward overwrites its input x"]


def test_what_backward_overwrites_is_named():
    def backward(dout, x):
        dout *= 3 * x * x
        x[0] = 0
        return dout

    report = gradient(cube, backward, X)
    assert [row.ok for row in report] == [True] and not report.ok
    assert report.problems == ["backward overwrites its input x", "backward overwrites dout"]


def test_arrays_given_by_name_are_watched_too():
    def forward(x, scale):
        scale *= 2
        return x * x, x

    report = gradient(forward, lambda dout, x: 2 * dout * x, X, scale=SCALE)
    assert report.problems == ["forward overwrites its input scale"] and SCALE == 1.7


def test_the_callers_arrays_are_left_alone():
    x = X.copy()

    def forward(x):
        x += 1
        return x * x, x.copy()

    gradient(forward, lambda dout, x: 2 * dout * x, x)
    assert np.array_equal(x, X)


@pytest.mark.parametrize(
    "backward",
    [
        lambda dout, x: (3 * dout * x * x).astype(np.float32),
        lambda dout, x: 3 * dout * (x * x).astype(np.float32),
        lambda dout, x: cube_backward(dout.astype(np.float16), x),
    ],
)
def test_float32_inside_backward_is_no_ok(backward):
    row = only_row(cube, backward, (3, 5))
    assert row.verdict in ("float32", "wrong") and not row.ok
    assert only_row(cube, backward, (3, 5), tolerance=1e-2).ok


def test_a_gradient_of_one_float32_number_is_no_ok():
    for seed in range(20):  # one in six is within 1e-8 by luck
        assert only_row(cube, lambda dout, x: cube_backward(dout, x).astype(np.float32), (1,), seed=seed).ok is False


@pytest.mark.parametrize("after", [np.float32, np.float64])
def test_a_forward_in_float32_is_not_checked(after):
    report = gradient(lambda x: (np.sin(x.astype(np.float32)).astype(after), x), lambda d, x: d * np.cos(x), (3, 5))
    assert [row.verdict for row in report] == ["unchecked"] and not report.ok and "float32" in str(report)


def test_neither_a_kink_nor_an_infinity_near_by_passes_for_float32_or_hides_it():
    x = np.ones(1)
    step = random_direction(x, seed=0)
    for side in (1, -1):
        kink = x + side * (0.01 + 2e-7) * step
        assert working_precision(lambda x, kink=kink: np.abs(x - kink), x) < 1e-12  # a kink seen: 1e-6
    assert working_precision(lambda x: np.append(np.sin(x.astype(np.float32)), np.inf), x) > 1e-9


def test_a_forward_in_float64_is_precise_enough_however_steep():
    assert only_row(lambda x: (np.sin(300 * x), x), lambda d, x: 300 * d * np.cos(300 * x), (3, 5)).ok
    assert only_row(lambda x: (np.abs(x) ** 0.5, x), lambda d, x: d * 0.5 * np.sign(x) / np.abs(x) ** 0.5, (3, 5)).ok


def test_a_forward_that_draws_its_own_random_numbers_is_not_checked():
    rng = np.random.default_rng(0)
    report = gradient(lambda x: (x * (rng.random(x.shape) < 0.5), x), lambda dout, x: dout, (3, 5))
    assert [row.verdict for row in report] == ["unchecked"] and "not deterministic" in str(report) and not report.ok
    calls = iter([2, 3])
    assert "not deterministic" in str(gradient(lambda x: (x[: next(calls)], x), lambda dout, x: dout, (3, 5)))


def test_a_forward_that_gives_nan_is_not_checked():
    x = np.array([1.0, -1.0])
    with np.errstate(invalid="ignore"):
        report = gradient(lambda x: (np.log(x), x), lambda dout, x: dout / x, x)
    assert [row.verdict for row in report] == ["unchecked"] and "not finite, first at (1,)" in str(report)


def test_warnings_of_the_points_beside_x_do_not_reach_the_caller():
    x = np.array([1e-3, 2.0, 1e-3, 1e-3, 1e-3])  # 0.01 to either side is out of the domain for some
    with np.errstate(all="raise"):
        for seed in range(4):
            assert only_row(lambda x: (np.log(x), x), lambda dout, x: dout / x, x, seed=seed).ok
            assert only_row(lambda x: (np.log(x).sum(), x), lambda dout, x: dout / x, x, seed=seed).ok
            assert only_row(lambda x: (np.log(x) * np.abs(x), x), lambda d, x: d * (1 + np.log(x)), x, seed=seed).ok


# ---- what it is for


def test_a_report_is_json():
    def backward(dout, cache):
        return np.full((2, 3), np.nan), scaled_sine_backward(dout, cache)[1]

    report = json.loads(json.dumps(gradient(scaled_sine, backward, X, SCALE).to_dict(), allow_nan=False))
    assert report["ok"] is False and report["problems"] == []
    dx, dscale = report["gradients"]
    assert dx["verdict"] == "wrong" and dx["relative_error"] is None and dx["shape"] == [2, 3]
    assert dscale["verdict"] == "ok" and dscale["expected"] == pytest.approx(dscale["given"]) and dscale["worst"] == []
    kinks = gradient(relu, relu_backward, np.array([0.0, 1.0])).to_dict()["gradients"][0]["kinks"]
    assert [kink["index"] for kink in kinks] == [[0]] and kinks[0]["from"] <= 0 <= kinks[0]["to"]


def test_assert_gradients_passes_a_right_pair_and_raises_the_report_of_a_wrong_one():
    assert_gradients(cube, cube_backward, (2, 3))
    with pytest.raises(AssertionError) as failure:
        assert_gradients(cube, lambda dout, x: dout * x, (2, 3))
    assert "WRONG" in str(failure.value) and "worst at" in str(failure.value)
    with pytest.raises(AssertionError, match="VACUOUS"):
        assert_gradients(softmax, softmax_backward, (2, 5), dout=np.ones((2, 5)))
