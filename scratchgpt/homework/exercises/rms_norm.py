"""RMSNorm, forward and backward; the variant multiplies by 1 + weight, as Gemma does."""

from dataclasses import replace
from functools import partial

import numpy as np

from scratchgpt.homework.exercises.layer_norm import AXES, DX_SCALES, OVER
from scratchgpt.homework.exercises.linear import MEANS, ROWS, counted
from scratchgpt.homework.spec import Exercise, Output, pair
from scratchgpt.ops.reference import rms_norm_backward, rms_norm_forward

FORWARD = {  # how xhat can go wrong, on both ways
    "root": {
        "outside": "eps is outside the square root; it belongs inside",
        "none": "eps is missing inside the square root",
        "1e-5": "eps is a fixed 1e-5; use the argument",
        "1e-6": "eps is a fixed 1e-6; use the argument",
        "squared": "the square root is missing in the denominator",
        "sum": "the squares are summed (that is the row's length); the mean of them belongs there",
        "ddof": "the sum of the squares is divided by C - 1; it is divided by C",
        "absolute": "the mean of the absolute values stands where the root of the mean square belongs",
    },
    "over": {axes: f"the mean of the squares runs {over.replace(' (that is batch norm)', '')}"
             for axes, over in OVER.items()},
    "centre": {
        "both": "the mean is subtracted; RMSNorm leaves it (that is layer norm)",
        "square": "divided by the standard deviation, which subtracts the mean; mean(x^2) belongs there",
        "x": "the mean is subtracted from x, though not in mean(x^2); RMSNorm leaves it in both",
    },
}  # fmt: skip
BACKWARD = {
    "means": {axes: f"the mean of the way back runs {over}".replace(" (that is batch norm)", "")
              for axes, over in OVER.items()},
    "power": {
        0: "the last factor 1/sqrt(mean(x^2) + eps) is missing",
        2: "the last factor 1/sqrt(mean(x^2) + eps) is applied twice",
        -1: "multiplied by sqrt(mean(x^2) + eps) instead of divided by it",
    },
    "factor": {
        "x": "the square term has x where it needs xhat: 1/rms is in it twice and not three times",
        "x twice": "the square term has x twice where it needs xhat twice: 1/rms is in it once and not three times",
        "no mean": "the mean inside the square term is missing: it is xhat * mean(dxhat * xhat)",
        "dout": "the square term has mean(dout * xhat); it is mean(dxhat * xhat), with weight",
        "dxhat": "the square term is dxhat * mean(dxhat * xhat); what stands before the mean is xhat",
        "xhat": "the square term is xhat * mean(xhat * xhat), without dxhat",
    },
}  # fmt: skip
GAIN = {
    False: {"one more": "1 + weight stands in the place of weight (that is Gemma's)"},
    True: {"weight": "weight stands in the place of 1 + weight"},
}
DGAIN = {
    "none": "weight is missing on the way back: dxhat = dout * weight",
    "twice": "weight is applied twice on the way back",
}


def inputs(draw, B, T, C):
    return {
        "x": draw.normal(B, T, C, scale=0.5, shift=0.3), "weight": draw.normal(C), "eps": draw.choose(0.5, 0.25),
        "dout": draw.normal(B, T, C, shift=0.5),
    }  # fmt: skip


def normalised(case, root="", over="features", centre=""):
    """xhat and 1/rms under these flavours."""
    x, axis, eps = case["x"], AXES[over], case["eps"]
    centred = x - x.mean(axis, keepdims=True)
    squared = centred if centre in ("both", "square") else x
    square = (squared * squared).mean(axis, keepdims=True)
    n = x.size // square.size
    roots = {
        "outside": np.sqrt(square) + eps, "none": np.sqrt(square), "1e-5": np.sqrt(square + 1e-5),
        "1e-6": np.sqrt(square + 1e-6), "squared": square + eps, "sum": np.sqrt(square * n + eps),
        "ddof": np.sqrt(square * n / (n - 1) + eps), "absolute": np.abs(squared).mean(axis, keepdims=True) + eps,
    }  # fmt: skip
    rrms = 1 / roots.get(root, np.sqrt(square + eps))
    return (centred if centre in ("both", "x") else x) * rrms, rrms


def gained(case, gemma, gain=""):
    """What xhat is multiplied by, (C,), and dout on the way back."""
    weight = case["weight"] + (gemma != (gain in ("weight", "one more")))
    return {"none": np.ones_like(weight), "twice": weight**2}.get(gain, weight)


def out(case, gemma, gain="", **forward):
    return normalised(case, **forward)[0] * gained(case, gemma, gain)


def dx(case, gemma, gain="", means="features", power=1, factor="", **forward):
    xhat, rrms = normalised(case, **forward)
    x, dxhat = xhat / rrms, case["dout"] * gained(case, gemma, gain)

    def mean(a):
        return np.broadcast_to(a.mean(AXES[means], keepdims=True), a.shape)

    square = {
        "x": x * mean(dxhat * xhat), "x twice": x * mean(dxhat * x), "no mean": xhat * dxhat * xhat,
        "dout": xhat * mean(case["dout"] * xhat), "dxhat": dxhat * mean(dxhat * xhat), "xhat": xhat * mean(xhat**2),
    }.get(factor, xhat * mean(dxhat * xhat))  # fmt: skip
    terms = {"direct": dxhat, "square": square, "mean": mean(dxhat)}
    return {name: term * rrms**power for name, term in terms.items()} | {"dout": case["dout"]}


def dweight(case, rows="", factor="", gain="", **forward):
    xhat, rrms = normalised(case, **forward)
    used = {"x": xhat / rrms, "1": np.ones_like(xhat)}.get(factor, xhat)
    return counted(case["dout"] * used * (case["weight"] if gain else 1), rows).sum(0)


def orthogonal(dx, case):
    """Whether sum(dx * x) is what eps alone makes of it."""
    x, dxhat = case["x"], case["dout"] * gained(case, case["gemma"])
    square = (x * x).mean(-1) + case["eps"]
    return np.allclose((dx * x).sum(-1), case["eps"] * (dxhat * x).sum(-1) / square**1.5, atol=1e-8)


def outputs(gemma):
    gain = {"gain": GAIN[gemma]}
    back = {"gain": GAIN[gemma] | {way: text.replace("weight", "1 + weight") if gemma else text
                                   for way, text in DGAIN.items()}}  # fmt: skip
    return (
        Output("out", partial(out, gemma=gemma), knobs=FORWARD | gain, invariants=(
            (lambda out, case: np.allclose(np.sign(out), np.sign(case["x"] * gained(case, gemma))),
             "out has the sign of x times that of its factor, because x is divided by a positive number"),
        )),
        Output(
            "dx", partial(dx, gemma=gemma), {"direct": 1, "square": -1, "mean": 0, "dout": 0},
            FORWARD | BACKWARD | back, DX_SCALES,
            invariants=((lambda dx, case: orthogonal(dx, case | {"gemma": gemma}),
                         "for a small eps, sum(dx * x) is 0 in every row, because a longer row gives the same out"),),
        ),
        Output("dweight", dweight, scales=MEANS, knobs=FORWARD | {
            "rows": ROWS,
            "factor": {"x": "uses x where it needs the normalised xhat", "1": "the factor xhat is missing"},
            "gain": {"weight": "dweight must not contain weight itself"},
        }),
    )  # fmt: skip


EXERCISE = Exercise(
    name="rms_norm",
    title="RMSNorm, forward and backward",
    task="""RMSNorm (Zhang & Sennrich 2019, eq. 4) over the last axis: x (B, T, C), weight (C,), eps a number.

out = xhat * weight with xhat = x / sqrt(mean(x^2) + eps): no mean is subtracted, no bias is added. There are two ways
from x to out: directly, and through the mean of the squares.
""",
    cut=(rms_norm_forward, rms_norm_backward),
    inputs=inputs,
    calls=lambda case: pair("rms_norm", ("x", "weight"), ("eps",)),
    outputs=outputs(gemma=False),
    sizes=({"B": 2, "T": 3, "C": 5}, {"B": 3, "T": 2, "C": 7}, {"B": 2, "T": 5, "C": 4}, {"B": 5, "T": 4, "C": 3}),
    small=({"B": 1, "T": 1, "C": 2}, {"B": 1, "T": 2, "C": 3}, {"B": 2, "T": 1, "C": 3}, {"B": 2, "T": 3, "C": 4}),
    dims=lambda case: dict(zip("BTC", case["x"].shape)) | {"N": case["x"].size // len(case["weight"])},
    readable=lambda case: bool(np.abs(case["x"]).max(-1).all() and case["weight"].any()),
    ops=("rms_norm_forward", "rms_norm_backward"),
)


# ---- the variant


def gemma_norm_forward(x, weight, eps=1e-6):
    """out = x / sqrt(mean(x^2) + eps) * (1 + weight) over the last axis; weight (C,) begins at 0."""
    return rms_norm_forward(x, 1 + weight, eps)


def gemma_norm_backward(dout, cache):
    """Returns dx (B, T, C), dweight (C,)."""
    return rms_norm_backward(dout, cache)


GEMMA = replace(
    EXERCISE,
    title="RMSNorm times 1 + weight, forward and backward",
    task="""RMSNorm as the code of Gemma has it (Gemma Team 2024), over the last axis: x (B, T, C), weight (C,), eps a
number.

out = xhat * (1 + weight) with xhat = x / sqrt(mean(x^2) + eps), so that a weight of 0 changes nothing, and weight decay
draws the factor to 1.
""",
    cut=(gemma_norm_forward, gemma_norm_backward),
    calls=lambda case: pair("gemma_norm", ("x", "weight"), ("eps",)),
    outputs=outputs(gemma=True),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"gemma": GEMMA})
