"""Every op of every table: right gradients, and the promises written at the top of ops/reference.py."""

import inspect
import itertools
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    CASES,
    LAYOUTS,
    OP_CASES,
    attention,
    binary_cross_entropy,
    cases_of,
    combine,
    cross_entropy,
    dispatch,
    element_wise,
    embedding,
    gelu,
    glu,
    grouped_linear,
    layer_norm,
    layouts,
    linear,
    make_case,
    normal,
    rms_norm,
    softmax_cross_entropy,
    squared_error,
)

from scratchgpt.errors import InputError
from scratchgpt.ops import WrappedOps, fast_cpu, flash, op_names, reference, table

TABLES = ("reference", "fast_cpu", "flash")
OTHERS = {"fast_cpu": fast_cpu, "flash": flash}  # all but the reference, with the constants that size their blocks
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


@pytest.fixture(scope="module", params=TABLES)
def ops(request):
    return table(request.param)


def difference(a, b):
    """max |a - b|, relative to the largest element or to 1: inputs are of order 1, and where their parts cancel to
    nothing (the gradient of a shift of all scores, say) only the rounding of the parts is left."""
    return float(np.max(np.abs(a - b), initial=0) / max(1, np.max(np.abs(a), initial=0), np.max(np.abs(b), initial=0)))


def arrays_in(value):
    """The arrays in nested tuples and dicts."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [a for part in value for a in arrays_in(part)] if isinstance(value, tuple | list) else []


# Gradients


@pytest.mark.parametrize("name", CASES)
def test_backward_is_the_derivative_of_forward(ops, name):
    report = make_case(name).gradient_report(ops)
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("readable", ["reference", "flash"])
def test_a_table_to_read_takes_complex_numbers(readable, name):
    report = make_case(name).gradient_report(table(readable))
    assert {row.method for row in report} == {"complex step"}


@pytest.mark.parametrize("op", OP_CASES)
@given(data=st.data())
def test_backward_is_the_derivative_of_forward_at_any_shape(ops, op, data):
    case = data.draw(OP_CASES[op])
    report = case.gradient_report(ops, data.draw(st.integers(0, 99)))
    assert report.ok, f"\n{report}"


def test_layer_norm_gradient_is_orthogonal_to_ones_and_to_xhat(ops):
    case = layer_norm(np.random.default_rng(0), (2, 3), 5, eps=0.0)
    _, (dx, _, _) = case.run(ops)
    x = case.arrays["x"]
    xhat = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    # moving or scaling a row changes nothing, so the gradient has no part along either: rounding remains
    assert np.abs(dx.sum(-1)).max() < 1e-14
    assert np.abs((dx * xhat).sum(-1)).max() < 1e-14


def test_rms_norm_gradient_is_orthogonal_to_its_input(ops):
    case = rms_norm(np.random.default_rng(0), (2, 3), 5, eps=0.0)
    _, (dx, _) = case.run(ops)
    # scaling a row changes nothing; moving it does
    assert np.abs((dx * case.arrays["x"]).sum(-1)).max() < 1e-14
    assert np.abs(dx.sum(-1)).min() > 1e-3


def test_rms_norm_is_layer_norm_where_the_mean_is_0(ops):
    case = layer_norm(np.random.default_rng(0), (2, 3), 5, eps=0.1)
    x, weight, bias = case.arrays.values()
    x -= x.mean(-1, keepdims=True)
    expected, _ = ops.layer_norm_forward(x, weight, 0 * bias, 0.1)
    assert difference(ops.rms_norm_forward(x, weight, 0.1)[0], expected) < 1e-15


def test_embedding_gradient_sums_over_every_use_of_a_token(ops):
    case = embedding(np.random.default_rng(0), 2, 5, 3, 11, 7, start=2)
    dout = case.dout()
    _, (dwte, dwpe) = case.run(ops)
    for token in range(3):
        expected = dout[case.fixed["ids"] == token].sum(0)
        assert difference(dwte[token], expected) < 8 * EPS["float64"]  # a sum of at most 10 numbers
    assert difference(dwpe[2:7], dout.sum(0)) < 4 * EPS["float64"]
    assert not dwpe[:2].any() and not dwpe[7:].any()


# The contract


@pytest.mark.parametrize("name", op_names())
def test_every_table_has_the_signatures_of_the_reference(ops, name):
    assert inspect.signature(getattr(ops, name)) == inspect.signature(getattr(reference, name))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_dtype_and_shape_of_results_are_those_of_the_inputs(ops, name, dtype):
    case = make_case(name).astype(dtype)
    out, gradients = case.run(ops)
    assert out.dtype == dtype and out.shape == case.out_shape()
    for array, gradient in zip(case.arrays.values(), gradients, strict=True):
        assert gradient.dtype == dtype and gradient.shape == array.shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_inputs_may_be_read_only(ops, name, dtype):
    case = make_case(name).astype(dtype)
    dout = case.dout()
    expected = case.run(ops)
    frozen = case.map(read_only)
    given_back = frozen.run(ops, read_only(dout))
    for a, b in zip(arrays_in(expected), arrays_in(given_back), strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(arrays_in((case.arrays, case.fixed)), arrays_in((frozen.arrays, frozen.fixed)), strict=True):
        assert np.array_equal(a, b)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", CASES)
def test_what_an_op_returns_belongs_to_the_caller(ops, name):
    case = make_case(name)
    dout = case.dout()
    inputs = [*arrays_in((case.arrays, case.fixed)), dout]
    out, expected = case.run(ops, dout)

    overwritten, cache = case.forward(ops)(**case.arrays)
    results = arrays_in((overwritten,))
    assert not any(np.shares_memory(a, b) for a in results for b in inputs)
    for array in results:
        array[...] = np.nan  # the caller's own: backward must not read it
    gradients = case.backward(ops)(dout, cache)
    gradients = arrays_in(gradients if isinstance(gradients, tuple) else (gradients,))
    assert not any(np.shares_memory(a, b) for a in gradients for b in inputs)
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(gradients, 2))
    for a, b in zip(arrays_in(expected), gradients, strict=True):
        assert np.array_equal(a, b)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("op", OP_CASES)
@given(data=st.data())
def test_memory_layout_does_not_matter(ops, op, data):
    case = data.draw(OP_CASES[op])
    lay_out, lay_out_dout = data.draw(layouts), data.draw(layouts)
    expected = case.run(ops)
    got = case.map(lay_out).run(ops, lay_out_dout(case.dout()))
    # BLAS may sum in another order for another layout: a few roundings
    for a, b in zip(arrays_in(expected), arrays_in(got), strict=True):
        assert difference(a, b) < 1e-13


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_other_layouts_of_the_same_numbers(layout):
    array = np.arange(2.0 * 3 * 5).reshape(2, 3, 5)
    other = LAYOUTS[layout](array)
    assert np.array_equal(array, other)
    assert layout == "broadcast" or not other.flags.c_contiguous


# The other tables against reference, in what they do their own way


def own_ops(names):
    """(table, name) for each name of an op, or of a case of one, that the table does not take from the reference."""
    return [(t, name) for t, module in OTHERS.items() for name in names if hasattr(module, f"{op_of(name)}_forward")]


def op_of(name):
    """op_of("gelu tanh, one element") -> "gelu"."""
    return name.split(",")[0].split()[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("other", "op"), own_ops(OP_CASES))
@given(data=st.data())
def test_table_equals_reference(other, op, dtype, data):
    assert_close_to_reference(other, data.draw(OP_CASES[op]), dtype)


# Beyond one block of rows, one chunk of logits, one tile of keys, whatever a table cuts its work into.
LARGE = {
    "linear": lambda rng: linear(rng, (3, 67), 129, 257),
    "embedding": lambda rng: embedding(rng, 7, 61, 83, 67, 130, start=5),
    "layer_norm": lambda rng: layer_norm(rng, (3, 401), 257),
    "gelu tanh": lambda rng: gelu(rng, (3, 331, 307), "tanh"),
    "gelu exact": lambda rng: gelu(rng, (3, 331, 307), "none"),
    "attention": lambda rng: attention(rng, 2, 197, 197, 3, 17),
    "attention, padded": lambda rng: attention(rng, 2, 131, 199, 3, 17, mask="tail"),
    "attention, bias": lambda rng: attention(rng, 2, 131, 131, 3, 17, causal=False, bias=(1, 3, 131, 131)),
    "attention, causal, bias of the keys": lambda rng: attention(rng, 3, 131, 199, 2, 17, bias=(3, 1, 1, 199)),
    "attention, grouped": lambda rng: attention(rng, 2, 131, 199, 6, 17, mask="tail", G=2, Dv=13),
    "attention, grouped, bias": lambda rng: attention(rng, 2, 131, 131, 6, 17, bias=(1, 6, 131, 131), G=3),
    "relu": lambda rng: element_wise("relu", rng, (3, 331, 307)),
    "glu, silu": lambda rng: glu(rng, (3, 331, 307), "silu"),
    "glu, gelu": lambda rng: glu(rng, (3, 331, 307), "gelu"),
    "cross_entropy": lambda rng: cross_entropy(rng, 1031, 37, 4111, ignored=13),
    "dispatch": lambda rng: dispatch(rng, 1031, 257, 8, 2),
    "combine": lambda rng: combine(rng, 1031, 257, 8, 3),
    "grouped_linear": lambda rng: grouped_linear(rng, (131, 0, 401, 67), 129, 67),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("other", "name"), own_ops(LARGE))
def test_table_equals_reference_on_large_arrays(other, name, dtype):
    assert_close_to_reference(other, LARGE[name](np.random.default_rng(0)), dtype)


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize(("other", "name"), own_ops(CASES))
def test_table_equals_reference_whatever_the_size_of_its_blocks(monkeypatch, other, name, size):
    for constant in [c for c, value in vars(OTHERS[other]).items() if c.isupper() and isinstance(value, int)]:
        monkeypatch.setattr(OTHERS[other], constant, size)
    monkeypatch.setattr(fast_cpu.row_blocks, "__defaults__", (size,))
    monkeypatch.setattr(reference, "HEAD_CHUNK", size)
    assert_close_to_reference(other, make_case(name), "float64")


def assert_close_to_reference(other, case, dtype):
    """Every result of a table in dtype is within rounding of the reference in float64: an element is a sum of up to K
    products, and each order of summation is off by a few eps sqrt(K) of the sum's size (errors have random signs)."""
    case = case.astype(dtype)
    truth = case.astype("float64").run(table("reference"), case.dout().astype("float64"))
    given_back = case.run(table(other))
    longest = max(a.size // a.shape[-1] for a in case.arrays.values())  # dweight sums over all rows
    for a, b in zip(arrays_in(truth), arrays_in(given_back), strict=True):
        assert difference(a, b) < 8 * EPS[dtype] * math.sqrt(longest)


def test_flash_attention_never_holds_a_score_for_every_pair():
    case = attention(np.random.default_rng(0), 1, 1024, 1024, 1, 3, causal=False)
    tracemalloc.start()
    try:
        case.run(table("flash"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    pairs = 1024 * 1024 * 8  # bytes; a quarter leaves room for a dozen arrays (T, D) and tiles, and none for a copy
    assert peak < pairs / 4


# Attention's options


@pytest.mark.parametrize("causal", [True, False])
def test_grouped_heads_are_heads_with_the_same_keys_and_values(ops, causal):
    case = attention(np.random.default_rng(0), 2, 5, 7, 6, 3, causal, mask="random", G=2, Dv=5)
    q, k, v = case.arrays.values()
    out, (dq, dk, dv) = case.run(ops)
    copied, cache = ops.attention_forward(q, k.repeat(3, 2), v.repeat(3, 2), mask=case.fixed["mask"], causal=causal)
    expected = ops.attention_backward(case.dout(), cache)
    assert difference(out, copied) < 1e-14  # a table may do one of them its own way
    assert difference(dq, expected[0]) < 1e-14
    for shared, copies in ((dk, expected[1]), (dv, expected[2])):
        assert difference(shared, copies.reshape(2, 7, 2, 3, -1).sum(3)) < 1e-14  # a sum of three


def test_attention_scale_is_a_factor_of_the_queries(ops):
    case = attention(np.random.default_rng(0), 2, 3, 5, 2, 7, scale=1.0)
    q, k, v = case.arrays.values()
    out, _ = case.run(ops)
    assert difference(out, ops.attention_forward(q * math.sqrt(7), k, v)[0]) < 1e-14


# Positions


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_products_depend_on_the_distance_alone(ops, interleaved):
    rng = np.random.default_rng(0)
    q, k = (np.repeat(normal(rng, 1, 1, 2, 6), 9, 1) for _ in range(2))  # one query and one key at nine positions
    near, far = (products(ops, q, k, start, interleaved) for start in (0, 1000))
    for scores in (near, far):
        for distance in range(-8, 9):
            line = np.diagonal(scores, distance)
            assert np.abs(line - line[:1]).max() < 1e-12  # positions of 1000 have angles right to 1e-13
        assert np.ptp(scores) > 1
    assert difference(near, far) < 1e-12


def products(ops, q, k, start, interleaved):
    """The products of all queries with all keys of head 0, (T, T)."""
    q, k = (ops.rotary_forward(a, start, 100.0, None, interleaved)[0][0, :, 0] for a in (q, k))
    return q @ k.T


def test_rotary_keeps_lengths_and_the_first_position(ops):
    x = normal(np.random.default_rng(0), 2, 5, 3, 8)
    out, _ = ops.rotary_forward(x)
    assert np.array_equal(out[:, 0], x[:, 0])
    assert difference((out * out).sum(-1), (x * x).sum(-1)) < 1e-15


def test_rotary_layouts_are_one_rotation_of_other_columns(ops):
    x = normal(np.random.default_rng(0), 2, 5, 3, 8)
    halves = [0, 2, 4, 6, 1, 3, 5, 7]  # column 2i to i, column 2i + 1 to 4 + i
    interleaved, _ = ops.rotary_forward(x, interleaved=True)
    assert np.array_equal(interleaved[..., halves], ops.rotary_forward(x[..., halves])[0])


def test_rotary_leaves_the_first_columns_alone_and_starts_anywhere(ops):
    x = normal(np.random.default_rng(0), 2, 5, 3, 8)
    out, _ = ops.rotary_forward(x, width=4)
    assert np.array_equal(out[..., :4], x[..., :4])
    assert np.array_equal(out[..., 4:], ops.rotary_forward(x[..., 4:])[0])
    assert np.array_equal(out[:, 2:], ops.rotary_forward(x[:, 2:], start=2, width=4)[0])


@pytest.mark.parametrize("width", [3, 0, -2, 10])
def test_rotary_refuses_columns_that_make_no_pairs(ops, width):
    with pytest.raises(InputError, match=f"turn {width} of 8 columns"):
        ops.rotary_forward(np.ones((1, 2, 1, 8)), width=width)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_position_bias_of_a_cached_query_is_a_row_of_the_whole(ops, bidirectional):
    table_ = normal(np.random.default_rng(0), 8, 3)
    whole, _ = ops.position_bias_forward(table_, 40, 40, 0, bidirectional, 20)
    assert whole.shape == (1, 3, 40, 40)
    for t in (0, 1, 13, 39):
        row, _ = ops.position_bias_forward(table_, 1, t + 1, t, bidirectional, 20)
        assert np.array_equal(row, whole[:, :, t : t + 1, : t + 1])


def test_distance_buckets_are_those_of_the_paper():
    # Raffel et al. 2020, section 2.1: 32 buckets, logarithmic up to 128, half of them for each direction in an encoder
    buckets = reference.distance_buckets(np.array([0, -1, -7, -8, -127, -128, -999, 1, 7, 999]), 32, True, 128)
    assert buckets.tolist() == [0, 1, 7, 8, 15, 15, 15, 17, 23, 31]
    buckets = reference.distance_buckets(np.array([0, 5, -1, -15, -16, -127, -999]), 32, False, 128)
    assert buckets.tolist() == [0, 0, 1, 15, 16, 31, 31]


@pytest.mark.parametrize(("buckets", "bidirectional", "max_distance"), [(3, True, 9), (1, False, 9), (32, True, 8)])
def test_position_bias_refuses_buckets_that_cannot_be(ops, buckets, bidirectional, max_distance):
    with pytest.raises(InputError, match=f"{buckets} buckets for distances up to {max_distance}"):
        ops.position_bias_forward(np.ones((buckets, 2)), 3, 3, 0, bidirectional, max_distance)


# Activations


def test_gate_is_what_goes_through_the_activation(ops):
    gate, up = np.array([-50.0, 0.0, 50.0]), np.array([3.0, 5.0, 7.0])
    for activation in ("silu", "gelu_tanh", "gelu", "relu"):
        out, _ = ops.glu_forward(gate, up, activation)
        assert np.abs(out - [0, 0, 350]).max() < 1e-12  # silu(-50) = -1e-20


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_activations_and_losses_of_large_numbers_do_not_overflow(ops):
    far = np.array([[-1e4, 1e4]], np.float32)
    one = np.ones(1, np.float32)
    for forward in (ops.relu_forward, ops.silu_forward, ops.tanh_forward):
        assert np.isfinite(forward(far)[0]).all()
    for right in (0.0, 1.0):
        targets = np.array([[right, right]], np.float32)
        loss, cache = ops.binary_cross_entropy_forward(far, targets, one)
        assert loss == 1e4  # one of the two is as wrong as can be
        assert np.abs(ops.binary_cross_entropy_backward(1.0, cache)).tolist() == [[right, 1 - right]]
    loss, cache = ops.softmax_cross_entropy_forward(far, np.array([0]), one)
    assert loss == 2e4 and ops.softmax_cross_entropy_backward(1.0, cache).tolist() == [[-1, 1]]


# Edges


def test_a_query_that_sees_nothing_gives_zeros(ops):
    case = attention(np.random.default_rng(0), 2, 5, 7, 3, 2, mask="row", bias=(2, 3, 5, 7))
    out, gradients = case.run(ops)
    assert not out[0].any() and out[1].all()
    for gradient in gradients:
        assert not gradient[0].any() and gradient[1].any()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("T", "S"), [(0, 0), (0, 5), (5, 0)])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_attention_of_nothing_is_nothing(ops, T, S, causal):
    rng = np.random.default_rng(0)
    q, k, v = (normal(rng, 2, length, 3, 7) for length in (T, S, S))
    out, cache = ops.attention_forward(q, k, v, causal=causal)
    grads = ops.attention_backward(normal(rng, 2, T, 3, 7), cache)[:3]
    for array, like in zip((out, *grads), (q, q, k, v), strict=True):
        assert array.shape == like.shape and array.dtype == like.dtype and not array.any()


def test_a_bias_of_minus_infinity_hides_a_key(ops):
    case = attention(np.random.default_rng(0), 2, 3, 5, 2, 3)
    hidden = np.array([False, True, False, True, True])
    bias = np.where(hidden, -math.inf, 0.0)[None, None, None]
    out, cache = ops.attention_forward(**case.arrays, bias=bias, causal=False)
    expected, expected_cache = ops.attention_forward(**case.arrays, mask=np.stack([~hidden] * 2), causal=False)
    gradients = ops.attention_backward(case.dout(), cache)
    assert difference(out, expected) < 1e-15
    for a, b in zip(gradients[:3], ops.attention_backward(case.dout(), expected_cache)[:3]):
        assert difference(a, b) < 1e-15
    all_hidden, _ = ops.attention_forward(**case.arrays, bias=np.full((1, 1, 1, 5), -math.inf), causal=False)
    assert not all_hidden.any()


def test_causal_attention_ignores_later_keys(ops):
    case = attention(np.random.default_rng(0), 2, 3, 7, 2, 5)  # query t sees keys up to t + 4
    before, _ = ops.attention_forward(**case.arrays)
    case.arrays["k"][:, 6] = case.arrays["v"][:, 6] = 99.0
    after, cache = ops.attention_forward(**case.arrays)
    assert np.array_equal(before[:, :2], after[:, :2]) and not np.allclose(before[:, 2], after[:, 2])
    dout = case.dout()
    dout[:, 2] = 0  # only the last query sees key 6
    _, dk, dv, _ = ops.attention_backward(dout, cache)
    assert not dk[:, 6].any() and not dv[:, 6].any()


def test_attention_in_pieces_with_a_cache_equals_the_whole(ops):
    case = attention(np.random.default_rng(0), 2, 7, 7, 3, 5)
    q, k, v = case.arrays.values()
    whole, _ = ops.attention_forward(q, k, v)
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        piece, _ = ops.attention_forward(q[:, start:stop], k[:, :stop], v[:, :stop])
        assert difference(piece, whole[:, start:stop]) < 1e-15


def test_large_scores_do_not_overflow(ops):
    case = attention(np.random.default_rng(0), 2, 3, 5, 2, 7).astype("float32")
    case.arrays["q"] *= 1e4
    out, gradients = case.run(ops)
    assert np.isfinite(out).all() and all(np.isfinite(g).all() for g in gradients)
    case = cross_entropy(np.random.default_rng(0), 5, 3, 7).astype("float32")
    case.arrays["x"] *= 1e4
    loss, gradients = case.run(ops)
    assert np.isfinite(loss) and all(np.isfinite(g).all() for g in gradients)


def test_ignored_targets_count_nowhere(ops):
    case = cross_entropy(np.random.default_rng(0), 5, 3, 7, ignored=2)
    loss, (dx, dweight) = case.run(ops)
    arrays, fixed = case.arrays, case.fixed
    rest, cache = ops.cross_entropy_forward(
        arrays["x"][2:], arrays["weight"], fixed["targets"][2:], fixed["token_weights"][2:]
    )
    dx_rest, dweight_rest = ops.cross_entropy_backward(case.dout(), cache)
    assert not dx[:2].any()
    for a, b in ((loss, rest), (dx[2:], dx_rest), (dweight, dweight_rest)):
        assert difference(a, b) < 1e-15


@pytest.mark.parametrize("make", [softmax_cross_entropy, binary_cross_entropy, squared_error])
def test_rows_of_weight_0_count_nowhere(ops, make):
    case = make(np.random.default_rng(0), 5, 3, ignored=2)
    loss, (dx,) = case.run(ops)
    rest = replace(
        case,
        arrays={name: a[2:] for name, a in case.arrays.items()},
        fixed={name: None if a is None else a[2:] for name, a in case.fixed.items()},
    )
    loss_of_rest, (dx_of_rest,) = rest.run(ops)
    assert not dx[:2].any()
    assert difference(loss, loss_of_rest) < 1e-15 and difference(dx[2:], dx_of_rest) < 1e-15


def test_softmax_cross_entropy_is_cross_entropy_of_logits_that_are_there(ops):
    case = softmax_cross_entropy(np.random.default_rng(0), 5, 7, ignored=1)
    loss, (dlogits,) = case.run(ops)
    targets, weights, _ = case.fixed.values()
    expected, cache = ops.cross_entropy_forward(case.arrays["logits"], np.eye(7), targets, weights)
    assert difference(loss, expected) < 1e-14
    assert difference(dlogits, ops.cross_entropy_backward(case.dout(), cache)[0]) < 1e-14


def test_masked_classes_have_no_share(ops):
    case = softmax_cross_entropy(np.random.default_rng(0), 5, 7, masked=True)
    mask, logits = case.fixed["mask"], case.arrays["logits"]
    before, (dlogits,) = case.run(ops)
    logits[~mask] += 5.0
    after, _ = case.run(ops)
    assert before == after and not dlogits[~mask].any() and dlogits[mask].any()


def test_two_labels_are_two_classes(ops):
    # sigmoid(z) is the softmax of (0, z)
    z, y = normal(np.random.default_rng(0), 5, 1), np.array([0, 1, 1, 0, 1])
    weights = np.full(5, 0.2)
    binary, cache = ops.binary_cross_entropy_forward(z, y[:, None].astype(float), weights)
    two, two_cache = ops.softmax_cross_entropy_forward(np.concatenate([0 * z, z], 1), y, weights)
    assert difference(binary, two) < 1e-15
    dz, dtwo = ops.binary_cross_entropy_backward(1.0, cache), ops.softmax_cross_entropy_backward(1.0, two_cache)
    assert difference(dz, dtwo[:, 1:]) < 1e-15


def test_cross_entropy_bias_is_a_weight_on_a_column_of_ones(ops):
    case = cross_entropy(np.random.default_rng(0), 5, 3, 7, ignored=1, bias=True)
    loss, (dx, dweight, dbias) = case.run(ops)
    x, weight, bias = case.arrays.values()
    x, weight = np.concatenate([x, np.ones((5, 1))], 1), np.concatenate([weight, bias[:, None]], 1)
    expected, cache = ops.cross_entropy_forward(x, weight, **case.fixed)
    dx_wide, dweight_wide = ops.cross_entropy_backward(case.dout(), cache)
    for a, b in ((loss, expected), (dx, dx_wide[:, :3]), (dweight, dweight_wide[:, :3]), (dbias, dweight_wide[:, 3])):
        assert difference(a, b) < 1e-14


def test_embedding_without_positions_picks_rows(ops):
    x, rows = normal(np.random.default_rng(0), 7, 5), np.array([6, 0, 6])
    out, cache = ops.embedding_forward(rows, x)
    assert np.array_equal(out, x[rows])
    dx, nothing = ops.embedding_backward(np.ones((3, 5)), cache)
    assert nothing is None and dx[:, 0].tolist() == [1, 0, 0, 0, 0, 0, 2]


def test_cross_entropy_of_equal_logits_is_log_of_the_vocabulary(ops):
    loss, _ = ops.cross_entropy_forward(np.zeros((3, 2)), np.ones((7, 2)), np.arange(3), np.full(3, 1 / 3))
    assert loss == pytest.approx(math.log(7), rel=1e-15)


def test_cross_entropy_takes_dloss_as_a_float(ops):
    case = cross_entropy(np.random.default_rng(0), 5, 3, 7).astype("float32")
    _, cache = case.forward(ops)(**case.arrays)
    once, twice = ops.cross_entropy_backward(1.0, cache), ops.cross_entropy_backward(2.0, cache)
    for a, b in zip(once, twice):
        assert a.dtype == "float32" and np.array_equal(2 * a, b)  # a factor 2 is exact


@pytest.mark.parametrize("chunk", [1, 7, 21, 22])
def test_cross_entropy_is_the_same_in_any_chunks(monkeypatch, chunk):
    case = cross_entropy(np.random.default_rng(0), 5, 3, 7, ignored=1)
    expected = case.run(reference)
    monkeypatch.setattr(reference, "HEAD_CHUNK", chunk)
    for a, b in zip(arrays_in(expected), arrays_in(case.run(reference)), strict=True):
        assert difference(a, b) < 1e-14  # dweight is summed chunk by chunk


def test_exact_gelu_is_x_times_the_normal_distribution_function(ops):
    x = np.concatenate([np.linspace(-9, 9, 1801), [0.0, -2.0, 2.0, 40.0, -37.0]])
    out, _ = ops.gelu_forward(x, "none")
    expected = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x])
    # relative at every single element, tails included; 1 - Phi loses digits where the two formulas of Phi meet
    assert np.abs(out / np.where(x == 0, 1, expected) - (x != 0)).max() < 1e-12


def test_exact_gelu_in_float32_is_right_to_float32(ops):
    x = np.linspace(-9, 9, 100_001, dtype=np.float32)
    out, cache = ops.gelu_forward(x, "none")
    slope = ops.gelu_backward(np.ones_like(x), cache)
    z = x.astype(float)
    phi = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    assert np.abs(out - z * phi).max() < 1e-6  # 1e-7 of numbers up to 9
    assert np.abs(slope - phi - z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)).max() < 1e-6


def test_gelu_ends_are_the_line_and_zero(ops):
    for approximate in ("tanh", "none"):
        out, _ = ops.gelu_forward(np.array([-50.0, 50.0, 0.0], np.float32), approximate)
        assert out.tolist() == [0.0, 50.0, 0.0]


# Dropout


def test_dropout_is_a_function_of_key_and_counter(ops):
    x = normal(np.random.default_rng(0), 7, 11)
    once, _ = ops.dropout_forward(x, 0.5, 3, 100)
    again, _ = ops.dropout_forward(x, 0.5, 3, 100)
    other_key, _ = ops.dropout_forward(x, 0.5, 4, 100)
    other_start, _ = ops.dropout_forward(x, 0.5, 3, 101)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other_key) and not np.array_equal(once, other_start)


@pytest.mark.parametrize("start", [0, 1000, 2**32 - 35, 2**40 - 35])
@pytest.mark.parametrize("split", [1, 3, 6])
def test_dropout_of_some_rows_is_that_part_of_the_whole(ops, start, split):
    x = normal(np.random.default_rng(0), 7, 11)
    whole, cache = ops.dropout_forward(x, 0.4, 2**64 - 1, start)
    top, top_cache = ops.dropout_forward(x[:split], 0.4, 2**64 - 1, start)
    rest, rest_cache = ops.dropout_forward(x[split:], 0.4, 2**64 - 1, start + 11 * split)
    assert np.array_equal(whole, np.concatenate([top, rest]))
    back = [ops.dropout_backward(x[:split], top_cache), ops.dropout_backward(x[split:], rest_cache)]
    assert np.array_equal(ops.dropout_backward(x, cache), np.concatenate(back))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_a_share_p_and_keeps_the_mean(ops, p):
    n = 10**6
    out, cache = ops.dropout_forward(np.ones(n), p, key=7, start=5)
    kept = np.count_nonzero(out)
    # binomial: five standard deviations, one chance in two million
    assert abs(kept - n * (1 - p)) <= 5 * math.sqrt(n * p * (1 - p))
    assert np.all((out == 0) | (out == 1 / (1 - p)))
    assert np.array_equal(ops.dropout_backward(np.ones(n), cache), out)


def test_dropout_masks_of_neighbouring_keys_and_starts_are_uncorrelated(ops):
    n, p = 1 << 18, 0.3
    streams = [(0, 0), (1, 0), (2, 0), (1 << 32, 0), (1 << 63, 0), (0, n), (0, 1 << 32), (1, 1), (0, 1), (0, 2)]
    masks = [(ops.dropout_forward(np.ones(n), p, key, start)[0] > 0) - (1 - p) for key, start in streams]
    correlations = np.corrcoef(masks)[np.triu_indices(len(masks), 1)]
    # 45 pairs of independent masks: each correlation is normal with standard deviation 1 / sqrt(n)
    assert np.abs(correlations).max() < 5 / math.sqrt(n)
    for lag in (1, 2, 3, 64, 768):
        assert abs(np.corrcoef(masks[0][lag:], masks[0][:-lag])[0, 1]) < 5 / math.sqrt(n)


def test_counter_hash_is_pinned():
    # a resumed run must find the masks of the run it continues: these numbers may never change
    assert reference.counter_hash(np, 0, 0, 3).tolist() == PINNED[0]
    assert reference.counter_hash(np, 2**64 - 1, 2**32 - 1, 3).tolist() == PINNED[1]


PINNED = ([4190096204, 1075035356, 1933769108], [2264348274, 3707647766, 2442173146])


def test_bits_of_counter_hash_are_fair_and_independent():
    n = 1 << 18
    draws = reference.counter_hash(np, 1, 0, n)
    bits = np.unpackbits(draws.view(np.uint8)).reshape(n, 32).astype(np.float32) - 0.5
    assert np.abs(bits.mean(0)).max() < 5 * 0.5 / math.sqrt(n)
    correlations = np.corrcoef(bits.T)[np.triu_indices(32, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(n)
    pairs = np.bincount((draws >> 24)[:-1].astype(np.int64) * 256 + (draws >> 24)[1:], minlength=65536)
    expected = (n - 1) / 65536
    chi_squared = ((pairs - expected) ** 2 / expected).sum()  # 65,535 degrees of freedom
    assert abs(chi_squared - 65535) < 5 * math.sqrt(2 * 65535)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_dropout_refuses_a_share_outside_0_to_1(ops, p):
    with pytest.raises(InputError, match="expected 0 <= p < 1"):
        ops.dropout_forward(np.ones(3), p, 0)


# The optimizer's ops


ADAMW = {"lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}


def adamw_by_formula(param, grads, lr, beta1, beta2, eps, weight_decay, scale=1.0):
    """Loshchilov & Hutter 2019, algorithm 2, one element at a time, from m = v = 0: one update for each of grads."""
    result = []
    for theta, gradients in zip(param.tolist(), np.transpose(grads).tolist()):
        m = v = 0.0
        for t, g in enumerate(gradients, 1):
            g *= scale
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            step = (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
            theta = theta - lr * weight_decay * theta - lr * step
        result.append(theta)
    return np.array(result)


ADAMW_CHANGES = ({}, {"weight_decay": 0.0}, {"eps": 0.1}, {"beta1": 0.0}, {"beta2": 0.0}, {"lr": 0.0})
GRAD_SCALES = (1.0, 0.37, np.array(0.37))


def adamw_error(adamw_step, changed, scale, dtype="float64"):
    """How far five updates are from the formula, for weights of order 1."""
    rng = np.random.default_rng(0)
    param, grads = normal(rng, 37).astype(dtype), normal(rng, 5, 37).astype(dtype)
    expected = adamw_by_formula(param, grads, **ADAMW | changed, scale=float(scale))
    run_adamw(adamw_step, param, grads, changed, scale)
    return np.abs(param - expected).max()


@pytest.mark.parametrize("changed", ADAMW_CHANGES)
@pytest.mark.parametrize("scale", GRAD_SCALES)
def test_adamw_step_is_the_formula_of_the_paper(ops, changed, scale):
    assert adamw_error(ops.adamw_step, changed, scale) < 1e-14
    # float32: five steps, each adds about two roundings of a number of order 1
    assert adamw_error(ops.adamw_step, changed, scale, "float32") < 2e-6


def adamw_is_right(adamw_step):
    return all(adamw_error(adamw_step, changed, scale) < 1e-14 for changed in ADAMW_CHANGES for scale in GRAD_SCALES)


def run_adamw(adamw_step, param, grads, changed=None, scale=1.0):
    """One update of param, in place, for each of grads; returns m and v."""
    m, v = np.zeros_like(param), np.zeros_like(param)
    for t, grad in enumerate(grads, 1):
        adamw_step(param, read_only(grad), m, v, t, **ADAMW | (changed or {}), grad_scale=scale)
    return m, v


@pytest.mark.parametrize("size", [0, 1, 300_007])
def test_adamw_step_takes_any_size(ops, size):
    rng = np.random.default_rng(0)
    param, grad = normal(rng, size).astype("float32"), normal(rng, size).astype("float32")
    expected = param.copy()
    run_adamw(reference.adamw_step, expected, [grad])
    m, v = run_adamw(ops.adamw_step, param, [grad])
    assert difference(param, expected) < 4 * EPS["float32"]  # the same few operations, perhaps reordered
    assert difference(m, 0.1 * grad) < 4 * EPS["float32"]
    assert difference(v, 0.05 * grad * grad) < 4 * EPS["float32"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 17, 300_007])
def test_global_norm_is_the_root_of_the_sum_of_squares(ops, size, dtype):
    grad = normal(np.random.default_rng(0), size).astype(dtype)
    norm = ops.global_norm(read_only(grad))
    expected = math.sqrt(math.fsum((grad.astype("float64") ** 2).tolist()))
    assert norm.dtype == dtype and norm.shape == ()
    # pairwise or blocked sums: the error grows like log n; 30 roundings are ample
    assert norm == pytest.approx(expected, rel=30 * EPS[dtype])


def test_every_op_has_named_cases_and_a_strategy():
    ops_with_gradients = {name.removesuffix("_forward") for name in op_names() if name.endswith("_forward")}
    assert set(OP_CASES) == ops_with_gradients
    assert all(cases_of(op) for op in ops_with_gradients)


# Wrappers


def recorded(ops, calls):
    """A table that appends (place, op) to calls."""

    def around(place, op, function, args, kwargs):
        calls.append((place, op))
        return function(*args, **kwargs)

    return WrappedOps(ops, around)


def test_wrappers_nest_and_take_replacements_and_both_know_the_place():
    outer, inner, x = [], [], np.ones((2, 3))
    ops = (
        recorded(recorded(table("reference"), inner), outer)
        .at("blocks.0")
        .replace(gelu_forward=lambda x, approximate: (x * 2, ()))
    )
    out, _ = ops.at("mlp").gelu_forward(x, "tanh")
    assert np.array_equal(out, 2 * x)
    assert outer == inner == [("blocks.0.mlp", "gelu_forward")]
