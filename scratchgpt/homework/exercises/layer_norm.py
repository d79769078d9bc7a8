"""Layer norm, forward and backward."""

import numpy as np

from scratchgpt.homework.spec import Exercise, Output, pair
from scratchgpt.ops.reference import layer_norm_backward, layer_norm_forward

STD = {  # how the standard deviation can go wrong, on both ways
    "ddof": "the variance is the unbiased one (divided by D - 1); layer norm divides by D",
    "outside": "eps is outside the square root; it is sqrt(var + eps)",
    "none": "eps is missing: it is sqrt(var + eps)",
    1e-5: "eps is a fixed 1e-5; use the argument",
}
ROWS = {
    "last": "only the last row counts: = where += belongs",
    "mean": "averaged over the rows; a parameter that all rows share gets the sum",
    "features": "summed over the features instead of over the rows",
}


def inputs(draw, N, D):
    return {
        "x": draw.normal(N, D, scale=2.0, shift=1.0), "weight": draw.normal(D), "bias": draw.normal(D),
        "eps": draw.choose(0.5, 0.25), "dout": draw.normal(N, D),
    }  # fmt: skip


def normalised(case, std, axis=-1):
    """xhat and 1/std under a flavour of the standard deviation."""
    x, eps = case["x"], case["eps"]
    centred = x - x.mean(axis, keepdims=True)
    var = centred.var(axis, ddof=int(std == "ddof"), keepdims=True)
    root = {"outside": lambda: np.sqrt(var) + eps, "none": lambda: np.sqrt(var)}.get(
        std, lambda: np.sqrt(var + (std if isinstance(std, float) else eps))
    )()
    return centred / root, 1 / root


def out(case, std="", axis=-1):
    xhat, _ = normalised(case, std, axis)
    return {"xhat * weight": xhat * case["weight"], "bias": np.broadcast_to(case["bias"], xhat.shape)}


def dx(case, std="", axis=-1, weight=1, power=1, centre="xhat"):
    xhat, rstd = normalised(case, std)
    dxhat = case["dout"] * case["weight"] ** weight

    def mean(a):
        return np.broadcast_to(a.mean(axis, keepdims=True), a.shape)

    factor = {"xhat": xhat, "x - mean": xhat / rstd, "x": case["x"]}[centre]
    return {
        "direct": dxhat * rstd**power,
        "mean": mean(dxhat) * rstd**power,
        "variance": factor * mean(dxhat * xhat) * rstd**power,
        "residual": case["dout"],
    }


def dweight(case, std="", rows="sum", factor="xhat", weight=0):
    xhat, rstd = normalised(case, std)
    used = {"xhat": xhat, "x": case["x"], "x - mean": xhat / rstd, "1": np.ones_like(xhat)}[factor]
    return over_rows(case["dout"] * used * case["weight"] ** weight, rows)


def dbias(case, rows="sum", weight=0):
    return over_rows(case["dout"] * case["weight"] ** weight, rows)


def over_rows(a, rows):
    return {"sum": a.sum(0), "last": a[-1], "mean": a.mean(0), "features": a.sum(1)}[rows]


EXERCISE = Exercise(
    name="layer_norm",
    title="Layer norm, forward and backward",
    task="""Layer norm (Ba et al. 2016, eq. 3-4) over the last axis: x (N, D), weight and bias (D,).

The backward has three ways from x to out: directly, through the mean and through the variance. Each row of dx sums to 0.
""",
    cut=(layer_norm_forward, layer_norm_backward),
    inputs=inputs,
    calls=lambda case: pair("layer_norm", ("x", "weight", "bias"), ("eps",)),
    outputs=(
        Output(
            "out", out, right={"xhat * weight": 1, "bias": 1},
            knobs={"std": STD, "axis": {0: "the statistics run over the rows (axis 0); layer norm takes them over features"}},
        ),
        Output(
            "dx", dx, right={"direct": 1, "mean": -1, "variance": -1, "residual": 0},
            knobs={
                "std": STD,
                "axis": {0: "the means run over the rows (axis 0); layer norm takes them over the features (axis -1)"},
                "weight": {0: "weight is missing on the way back: dxhat = dout * weight", 2: "weight is applied twice"},
                "power": {
                    0: "the last factor 1/sqrt(var + eps) is missing",
                    2: "divided by the variance instead of by its square root",
                    -1: "multiplied by the standard deviation instead of divided by it",
                },
                "centre": {
                    "x - mean": "the variance term uses x - mean where it needs xhat",
                    "x": "the variance term uses x where it needs xhat",
                },
            },
            scales={"D": "a sum where a mean belongs", "D/N": "divided by N instead of D"},
            invariants=(
                (lambda dx, case: np.allclose(dx.sum(-1), 0, atol=1e-8), "every row of dx sums to 0, because adding a "
                 "constant to a row does not change layer norm"),
            ),
        ),
        Output(
            "dweight", dweight,
            knobs={
                "std": STD, "rows": ROWS, "weight": {1: "dweight must not contain weight itself"},
                "factor": {
                    "x": "uses x where it needs the normalised xhat",
                    "x - mean": "uses x - mean; it still needs the 1/std",
                    "1": "the factor xhat is missing (that is dbias)",
                },
            },
        ),
        Output("dbias", dbias, knobs={"rows": ROWS, "weight": {1: "dbias must not contain weight"}}),
    ),
    sizes=({"N": 3, "D": 5}, {"N": 2, "D": 7}, {"N": 11, "D": 4}, {"N": 5, "D": 3}),
    small=({"N": 1, "D": 3}, {"N": 2, "D": 3}, {"N": 3, "D": 4}),
    dims=lambda case: dict(zip("ND", case["x"].shape)),
    readable=lambda case: bool((case["x"].std(-1) > 0.4).all() and case["weight"].any()),
    ops=("layer_norm_forward", "layer_norm_backward"),
)  # fmt: skip
