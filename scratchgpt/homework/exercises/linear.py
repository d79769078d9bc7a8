"""A linear map with a broadcast bias, forward and backward; the variant stores its weight as GPT-2 does."""

from dataclasses import replace
from functools import partial

import numpy as np

from scratchgpt.homework.spec import Exercise, Output, pair
from scratchgpt.ops.reference import linear_backward, linear_forward

ROWS = {
    "last": "only the last row counts: = where += belongs",
    "first sequence": "only the first sequence of the batch counts; the sum runs over all B * T rows",
    "last sequence": "only the last sequence of the batch counts; the sum runs over all B * T rows",
}
MEANS = {
    "1/N": "averaged over the N = B * T rows; what all rows share gets the sum",
    "1/B": "averaged over the batch; what all rows share gets the sum",
    "1/T": "averaged over the positions; what all rows share gets the sum",
}


def inputs(draw, stored, B, T, n_in, n_out):
    return {
        "x": draw.normal(B, T, n_in, shift=0.5), "weight": draw.normal(*stored_shape(stored, n_in, n_out)),
        "bias": draw.normal(n_out), "dout": draw.normal(B, T, n_out, shift=0.5),
    }  # fmt: skip


def stored_shape(stored, n_in, n_out):
    """The shape of a weight that is stored as "OI" or as "IO"."""
    return (n_out, n_in) if stored == "OI" else (n_in, n_out)


def flipped(a, how=""):
    """a^T, or what reshaping makes of it."""
    return a.reshape(a.shape[::-1]) if how == "reshaped" else np.ascontiguousarray(a.T)


def out(case, stored="OI", weight=""):
    product = case["x"] @ (flipped(case["weight"], weight) if stored == "OI" else case["weight"])
    return {"product": product, "bias": np.broadcast_to(case["bias"], product.shape)}


def dx(case, stored="OI", rows="", weight=""):
    w = np.ones_like(case["weight"]) if weight == "1" else case["weight"]
    right = case["dout"] @ (w if stored == "OI" else flipped(w, weight))
    flat = right.reshape(-1, right.shape[-1])
    last = np.arange(len(flat))[:, None] == len(flat) - 1
    wrong = {"last": flat * last, "running": np.cumsum(flat, 0), "summed": np.broadcast_to(flat.sum(0), flat.shape)}
    return wrong.get(rows, flat).reshape(right.shape)


def dweight(case, stored="OI", rows="", layout="", x=1):
    d, x = counted(case["dout"], rows), counted(case["x"], rows) ** x
    left, right = (d, x) if stored == "OI" else (x, d)
    if layout == "operand":
        return flipped(left, "reshaped") @ right
    if layout == "result":
        return flipped(right.T @ left, "reshaped")
    return np.outer(left.sum(0), right.sum(0)) if layout == "sums" else left.T @ right


def dbias(case, rows=""):
    return counted(case["dout"], rows).sum(0)


def counted(a, rows):
    """The rows of a (B, T, columns) that a sum runs over, as (n, columns)."""
    if rows == "first sequence":
        return a[0]
    n_last = {"last": 1, "last sequence": a.shape[1]}.get(rows, 0)  # a[-0:] is the whole of a
    return a.reshape(-1, a.shape[-1])[-n_last:]


def same_sum(value, by, case, stored):
    """Whether sum(value * by) is sum(dout * (out - bias)), as it must for a gradient of a linear function."""
    return np.isclose((value * by).sum(), (case["dout"] * out(case, stored)["product"]).sum())


def outputs(stored):
    flip = {"reshaped": f"weight is reshaped to {'(I, O)' if stored == 'OI' else '(O, I)'} where it must be transposed"}
    left = "dout is reshaped to (O, N)" if stored == "OI" else "x is reshaped to (I, N)"
    product, weight = ("(I, O)", "(O, I)") if stored == "OI" else ("(O, I)", "(I, O)")
    return (
        Output(
            "out", partial(out, stored=stored), right={"product": 1, "bias": 1},
            knobs={"weight": flip} if stored == "OI" else {},
        ),
        Output(
            "dx", partial(dx, stored=stored),
            knobs={
                "rows": {
                    "last": "only the last row is written; every row of x has a gradient",
                    "running": "the sum is not set back to 0 between the rows",
                    "summed": "every row gets the sum of all rows; row n of dx comes from row n of dout alone",
                },
                "weight": {"1": "the factor weight is missing"} | (flip if stored == "IO" else {}),
            },
            scales={"1/N": "averaged over the rows; row n of dx comes from row n of dout alone"},
            invariants=((lambda dx, case: same_sum(dx, case["x"], case, stored),
                         "sum(dx * x) is sum(dout * (out - bias)), because out - bias is linear in x"),),
        ),
        Output(
            "dweight", partial(dweight, stored=stored),
            knobs={
                "rows": ROWS,
                "layout": {
                    "operand": f"{left} where it must be transposed",
                    "result": f"the product {product} is reshaped to {weight} where it must be transposed",
                    "sums": "a product of two sums over the rows; a sum over the rows of products belongs there",
                },
                "x": {0: "the factor x is missing (that is dbias, again and again)"},
            },
            scales=MEANS,
            invariants=((lambda dweight, case: same_sum(dweight, case["weight"], case, stored),
                         "sum(dweight * weight) is sum(dout * (out - bias)), because out - bias is linear in weight"),),
        ),
        Output("dbias", dbias, knobs={"rows": ROWS}, scales=MEANS),
    )  # fmt: skip


def dims(case):
    (B, T, n_in), n_out = case["x"].shape, len(case["bias"])
    return {"N": B * T, "B": B, "T": T, "I": n_in, "O": n_out}


def conv1d_forward(x, weight, bias):
    """out = x W + b over the last axis. x (B, T, I), weight (I, O), bias (O,) -> out (B, T, O)."""
    return linear_forward(x, weight.T, bias)


def conv1d_backward(dout, cache):
    """Returns dx (B, T, I), dweight (I, O), dbias (O,)."""
    dx, dweight, dbias = linear_backward(dout, cache)
    return dx, dweight.T, dbias


EXERCISE = Exercise(
    name="linear",
    title="A linear map with a broadcast bias, forward and backward",
    task="""A linear map over the last axis, out = x W^T + b: x (B, T, I), weight (O, I), bias (O,), out (B, T, O).

All B * T rows share one weight and one bias, so on the way back their gradients add up. bias is never None here.
""",
    cut=(linear_forward, linear_backward),
    inputs=partial(inputs, stored="OI"),
    calls=lambda case: pair("linear", ("x", "weight", "bias")),
    outputs=outputs("OI"),
    sizes=({"B": 2, "T": 3, "n_in": 5, "n_out": 7}, {"B": 3, "T": 2, "n_in": 7, "n_out": 4},
           {"B": 2, "T": 5, "n_in": 4, "n_out": 3}, {"B": 5, "T": 4, "n_in": 3, "n_out": 2}),
    small=({"B": 1, "T": 1, "n_in": 2, "n_out": 1}, {"B": 1, "T": 2, "n_in": 1, "n_out": 2},
           {"B": 2, "T": 1, "n_in": 2, "n_out": 3}, {"B": 2, "T": 2, "n_in": 3, "n_out": 2}),
    dims=dims,
    ops=("linear_forward", "linear_backward"),
)  # fmt: skip

CONV1D = replace(
    EXERCISE,
    title="A linear map as GPT-2 stores it, forward and backward",
    task="""GPT-2's "Conv1D": out = x W + b with x (B, T, I), weight (I, O), bias (O,), out (B, T, O).

All B * T rows share one weight and one bias, so on the way back their gradients add up.
""",
    cut=(conv1d_forward, conv1d_backward),
    inputs=partial(inputs, stored="IO"),
    calls=lambda case: pair("conv1d", ("x", "weight", "bias")),
    outputs=outputs("IO"),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"conv1d": CONV1D})
