"""Layer norm, forward and backward; the variant is RMSNorm."""

from dataclasses import replace
from functools import partial

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
DDOF = {"ddof": "the variance is the unbiased one (divided by C - 1); layer norm divides by C"}
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
    terms = {"xhat * weight": xhat * case["weight"]}
    return terms | {"bias": np.broadcast_to(case["bias"], xhat.shape)} if "bias" in case else terms


def dx(
    case, std="", statistics="features", centre=True, means="features", weight=1, power=1, factor="", third="variance"
):
    xhat, rstd = normalised(case, std, statistics, centre)
    x, centred, dxhat = case["x"], xhat / rstd, case["dout"] * case["weight"] ** weight

    def mean(a):
        return np.broadcast_to(a.mean(AXES[means], keepdims=True), a.shape)

    by_factor = {"x - mean": centred, "x - mean twice": centred / rstd, "x": x}.get(factor, xhat)
    projection = mean(dxhat * (x if factor == "x inside" else xhat))
    along = by_factor * (dxhat * xhat if factor == "no mean" else projection)
    terms = {"direct": dxhat, "mean": mean(dxhat), third: along}
    return {name: term * rstd**power for name, term in terms.items()} | {"dout": case["dout"]}


def dweight(case, std="", statistics="features", centre=True, rows="", factor="xhat", weight=0):
    xhat, rstd = normalised(case, std, statistics, centre)
    used = {"xhat": xhat, "x": case["x"], "x - mean": xhat / rstd, "1": np.ones_like(xhat)}[factor]
    return counted(case["dout"] * used * case["weight"] ** weight, rows).sum(0)


def dbias(case, rows="", weight=0):
    return counted(case["dout"] * case["weight"] ** weight, rows).sum(0)


FORWARD = {"std": STD | DDOF, "statistics": STATISTICS, "centre": CENTRE}
RMS_FORWARD = {"std": STD, "statistics": STATISTICS, "centre": {True: "the mean is subtracted; RMSNorm leaves it"}}
BACKWARD = {
    "means": BACK,
    "weight": {0: "weight is missing on the way back: dxhat = dout * weight", 2: "weight is applied twice"},
    "power": {
        0: "the last factor 1/sqrt(var + eps) is missing",
        2: "the last factor 1/sqrt(var + eps) is applied twice",
        -1: "multiplied by sqrt(var + eps) instead of divided by it",
    },
}
RMS_BACKWARD = BACKWARD | {
    "power": {power: text.replace("var", "mean(x^2)") for power, text in BACKWARD["power"].items()}
}
FACTOR = {
    "x - mean": "the variance term has x - mean where it needs xhat",
    "x - mean twice": "the variance term has x - mean twice where it needs xhat twice",
    "x": "the variance term has x where it needs xhat",
    "x inside": "the variance term has mean(dxhat * x) where it needs mean(dxhat * xhat)",
    "no mean": "the mean inside the variance term is missing: it is xhat * mean(dxhat * xhat)",
}
RMS_FACTOR = {
    "x": "the square term has x where it needs xhat",
    "x - mean twice": "the square term has x twice where it needs xhat twice",
    "no mean": "the mean inside the square term is missing: it is xhat * mean(dxhat * xhat)",
}
DWEIGHT = {"rows": ROWS, "weight": {1: "dweight must not contain weight itself"}}
DWEIGHT_FACTOR = {
    "x": "uses x where it needs the normalised xhat", "1": "the factor xhat is missing (that is dbias)",
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
    Output(
        "dweight", dweight, scales=MEANS,
        knobs=FORWARD | DWEIGHT | {"factor": DWEIGHT_FACTOR | {"x - mean": "uses x - mean; it still needs the 1/std"}},
    ),
    Output("dbias", dbias, knobs={"rows": ROWS, "weight": {1: "dbias must not contain weight"}}, scales=MEANS),
)  # fmt: skip
RMS_OUTPUTS = (
    Output("out", partial(out, centre=False), {"xhat * weight": 1}, RMS_FORWARD),
    Output(
        "dx", partial(dx, centre=False, third="square"), {"direct": 1, "square": -1, "mean": 0, "dout": 0},
        RMS_FORWARD | RMS_BACKWARD | {"factor": RMS_FACTOR}, DX_SCALES,
    ),
    Output(
        "dweight", partial(dweight, centre=False), {}, RMS_FORWARD | DWEIGHT | {"factor": DWEIGHT_FACTOR}, MEANS,
    ),
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


# ---- the variants


def rms_norm_forward(x, weight, eps=1e-5):
    """out = x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019, eq. 4)."""
    C = len(weight)
    # x beside -x has mean 0 and variance mean(x^2), so the first half of its layer norm is the RMSNorm of x
    both, cache = layer_norm_forward(np.concatenate((x, -x), -1), np.tile(weight, 2), np.zeros(2 * C), eps)
    return both[..., :C].copy(), cache


def rms_norm_backward(dout, cache):
    """Returns dx (B, T, C), dweight (C,)."""
    dboth, dweight, _ = layer_norm_backward(np.concatenate((dout, 0 * dout), -1), cache)
    dx, dminus = np.split(dboth, 2, -1)
    return dx - dminus, dweight[: dout.shape[-1]]


RMS_NORM = replace(
    EXERCISE,
    title="RMSNorm, forward and backward",
    task="""RMSNorm (Zhang & Sennrich 2019, eq. 4) over the last axis: x (B, T, C), weight (C,), eps a number.

out = x / sqrt(mean(x^2) + eps) * weight: no mean is subtracted, no bias is added.
""",
    cut=(rms_norm_forward, rms_norm_backward),
    inputs=lambda draw, **sizes: {name: value for name, value in inputs(draw, **sizes).items() if name != "bias"},
    calls=lambda case: pair("rms_norm", ("x", "weight"), ("eps",)),
    outputs=RMS_OUTPUTS,
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"rms_norm": RMS_NORM})
