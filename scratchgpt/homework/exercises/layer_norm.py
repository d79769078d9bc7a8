"""Layer norm, forward and backward; the variant has its channels on axis 1."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.exercises.linear import MEANS, ROWS, counted
from scratchgpt.homework.spec import Exercise, Output, pair
from scratchgpt.ops.reference import layer_norm_backward, layer_norm_forward

STD = {  # how the standard deviation can go wrong, on both ways
    "outside": "eps is outside the square root; it belongs inside",
    "none": "eps is missing inside the square root",
    "1e-5": "eps is a fixed 1e-5; use the argument",
    "squared": "the square root is missing in the denominator",
    "sum": "the squares are summed; the mean of them belongs there",
    "ddof": "the variance is the unbiased one (divided by C - 1); layer norm divides by C",
}
AXES = {"batch": 0, "positions": 1, "rows": (0, 1), "all": None, "features": -1}
OVER = {
    "batch": "over the batch, not over the features",
    "positions": "over the positions, not over the features",
    "rows": "over batch and positions (that is batch norm), not over the features",
    "all": "over the whole array, not over the features of each row",
}
STATISTICS = {axes: f"the statistics run {over}" for axes, over in OVER.items()}
BACK = {axes: f"the means of the way back run {over}" for axes, over in OVER.items()}
CENTRE = {
    False: "the mean is not subtracted (that is RMSNorm)",
    "variance": "the mean is subtracted inside the variance alone; xhat needs it too",
}
DX_SCALES = {
    "C": "a sum where a mean belongs",
    "C/N": "divided by N = B * T instead of C",
    "C/B": "divided by B instead of C",
    "C/T": "divided by T instead of C",
}


def inputs(draw, B, T, C):
    return {
        "x": draw.normal(B, T, C, scale=2.0, shift=1.0), "weight": draw.normal(C), "bias": draw.normal(C),
        "eps": draw.choose(0.5, 0.25), "dout": draw.normal(B, T, C, shift=0.5),
    }  # fmt: skip


def normalised(case, std, statistics, centre):
    """xhat and 1/std under a flavour of the statistics."""
    x, eps = case["x"], 1e-5 if std == "1e-5" else case["eps"]
    axis = AXES[statistics]
    centred = x - x.mean(axis, keepdims=True) if centre else x
    var = (centred * centred).mean(axis, keepdims=True)
    n = x.size // var.size
    if std == "ddof":
        var = var * n / (n - 1)
    roots = {"outside": np.sqrt(var) + eps, "none": np.sqrt(var), "squared": var + eps, "sum": np.sqrt(var * n + eps)}
    rstd = 1 / roots.get(std, np.sqrt(var + eps))
    return (x if centre == "variance" else centred) * rstd, rstd


def out(case, std="", statistics="features", centre=True):
    xhat, _ = normalised(case, std, statistics, centre)
    return {"xhat * weight": xhat * case["weight"], "bias": np.broadcast_to(case["bias"], xhat.shape)}


def dx(case, std="", statistics="features", centre=True, means="features", weight=1, power=1, factor=""):
    xhat, rstd = normalised(case, std, statistics, centre)
    x, centred, dxhat = case["x"], xhat / rstd, case["dout"] * case["weight"] ** weight

    def mean(a):
        return np.broadcast_to(a.mean(AXES[means], keepdims=True), a.shape)

    by_factor = {"x - mean": centred, "x - mean twice": centred / rstd, "x": x}.get(factor, xhat)
    projection = mean(dxhat * (x if factor == "x inside" else xhat))
    along = by_factor * (dxhat * xhat if factor == "no mean" else projection)
    terms = {"direct": dxhat, "mean": mean(dxhat), "variance": along}
    return {name: term * rstd**power for name, term in terms.items()} | {"dout": case["dout"]}


def dweight(case, std="", statistics="features", centre=True, rows="", factor="xhat", weight=0):
    xhat, rstd = normalised(case, std, statistics, centre)
    used = {"xhat": xhat, "x": case["x"], "x - mean": xhat / rstd, "1": np.ones_like(xhat)}[factor]
    return counted(case["dout"] * used * case["weight"] ** weight, rows).sum(0)


def dbias(case, rows="", weight=0):
    return counted(case["dout"] * case["weight"] ** weight, rows).sum(0)


FORWARD = {"std": STD, "statistics": STATISTICS, "centre": CENTRE}
BACKWARD = {
    "means": BACK,
    "weight": {0: "weight is missing on the way back: dxhat = dout * weight", 2: "weight is applied twice"},
    "power": {
        0: "the last factor 1/sqrt(var + eps) is missing",
        2: "the last factor 1/sqrt(var + eps) is applied twice",
        -1: "multiplied by sqrt(var + eps) instead of divided by it",
    },
}
FACTOR = {
    "x - mean": "the variance term has x - mean where it needs xhat",
    "x - mean twice": "the variance term has x - mean twice where it needs xhat twice",
    "x": "the variance term has x where it needs xhat",
    "x inside": "the variance term has mean(dxhat * x) where it needs mean(dxhat * xhat)",
    "no mean": "the mean inside the variance term is missing: it is xhat * mean(dxhat * xhat)",
}
DWEIGHT = {
    "rows": ROWS, "weight": {1: "dweight must not contain weight itself"},
    "factor": {
        "x": "uses x where it needs the normalised xhat", "1": "the factor xhat is missing (that is dbias)",
        "x - mean": "uses x - mean; it still needs the 1/std",
    },
}  # fmt: skip

OUTPUTS = (
    Output(
        "out", out, {"xhat * weight": 1, "bias": 1}, FORWARD,
        invariants=((lambda out, case: np.allclose(((out - case["bias"]) / case["weight"]).mean(-1), 0, atol=1e-6),
                     "in every row, (out - bias) / weight has mean 0"),),
    ),
    Output(
        "dx", dx, {"direct": 1, "mean": -1, "variance": -1, "dout": 0}, FORWARD | BACKWARD | {"factor": FACTOR},
        DX_SCALES,
        invariants=((lambda dx, case: np.allclose(dx.sum(-1), 0, atol=1e-8),
                     "every row of dx sums to 0, because adding a constant to a row does not change layer norm"),),
    ),
    Output("dweight", dweight, knobs=FORWARD | DWEIGHT, scales=MEANS),
    Output("dbias", dbias, knobs={"rows": ROWS, "weight": {1: "dbias must not contain weight"}}, scales=MEANS),
)  # fmt: skip

EXERCISE = Exercise(
    name="layer_norm",
    title="Layer norm, forward and backward",
    task="""Layer norm (Ba et al. 2016, eq. 3-4) over the last axis: x (B, T, C), weight and bias (C,), eps a number.

There are three ways from x to out: directly, through the mean and through the variance. Each row of dx sums to 0.
""",
    cut=(layer_norm_forward, layer_norm_backward),
    inputs=inputs,
    calls=lambda case: pair("layer_norm", ("x", "weight", "bias"), ("eps",)),
    outputs=OUTPUTS,
    sizes=({"B": 2, "T": 3, "C": 5}, {"B": 3, "T": 2, "C": 7}, {"B": 2, "T": 5, "C": 4}, {"B": 5, "T": 4, "C": 3}),
    small=({"B": 1, "T": 1, "C": 3}, {"B": 1, "T": 2, "C": 3}, {"B": 2, "T": 1, "C": 3}, {"B": 2, "T": 3, "C": 4}),
    dims=lambda case: dict(zip("BTC", case["x"].shape)) | {"N": case["x"].size // len(case["weight"])},
    readable=lambda case: bool((case["x"].std(-1) > 0.4).all() and case["weight"].any()),
    ops=("layer_norm_forward", "layer_norm_backward"),
)


# ---- the variant


def channels_first_forward(x, weight, bias, eps=1e-5):
    """out = (x - mean) / sqrt(var + eps) * weight + bias over axis 1 of x (B, C, T)."""
    out, cache = layer_norm_forward(x.swapaxes(1, 2), weight, bias, eps)
    return out.swapaxes(1, 2).copy(), cache


def channels_first_backward(dout, cache):
    """Returns dx (B, C, T), dweight (C,), dbias (C,)."""
    dx, dweight, dbias = layer_norm_backward(dout.swapaxes(1, 2), cache)
    return dx.swapaxes(1, 2).copy(), dweight, dbias


def turned(case):
    """A case with its (B, C, T) as (B, T, C), or the other way round."""
    return case | {name: value.swapaxes(1, 2).copy() for name, value in case.items() if np.ndim(value) == 3}


def turned_output(output):
    """The Output for arrays that are (B, C, T)."""

    def model(case, **flavours):
        result = output.model(turned(case), **flavours)
        return turned(result) if isinstance(result, dict) else result

    def of_turned(holds):
        return lambda value, case: holds(value.swapaxes(1, 2), turned(case))

    return replace(output, model=model, invariants=tuple((of_turned(holds), hint) for holds, hint in output.invariants))


CHANNELS_FIRST = replace(
    EXERCISE,
    title="Layer norm of channels that come first, forward and backward",
    task="""Layer norm (Ba et al. 2016, eq. 3-4) as convolutions need it (Liu et al. 2022): x (B, C, T), weight and bias
(C,), eps a number. Each position of each sequence is normalised over its C channels, which are axis 1.

There are three ways from x to out: directly, through the mean and through the variance. dx sums to 0 over axis 1.
""",
    cut=(channels_first_forward, channels_first_backward),
    inputs=lambda draw, **sizes: turned(inputs(draw, **sizes)),
    calls=lambda case: pair("channels_first", ("x", "weight", "bias"), ("eps",)),
    outputs=tuple(map(turned_output, OUTPUTS)),
    dims=lambda case: EXERCISE.dims(turned(case)),
    readable=lambda case: EXERCISE.readable(turned(case)),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"channels_first": CHANNELS_FIRST})
