"""AdamW, one step in place; the variant is Adam with L2 regularisation."""

from dataclasses import replace
from functools import partial

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.reference import adamw_step

SCALE = {"none": "grad_scale is forgotten: the gradient is grad * grad_scale"}
COUPLED = {"coupled": "the decay enters the gradient (L2, as in Adam); AdamW's acts on param alone"}
BETAS = {"swapped": "beta1 and beta2 are swapped: m takes beta1, v takes beta2"}
WRITTEN = {"no": "the array itself is not changed (x = ... makes a new one; write x *= ..., x += ... or x[:] = ...)"}
CORRECTED = {"yes": "the bias-corrected value is kept; mhat and vhat are for this step alone"}
M = {
    "sum": "the factor (1 - beta1) is missing in m: it is an average, not a sum",
    "swapped": "beta1 and (1 - beta1) are swapped in m",
}
V = {
    "sum": "the factor (1 - beta2) is missing in v: it is an average, not a sum",
    "swapped": "beta2 and (1 - beta2) are swapped in v",
    "once": "in v grad_scale is applied once; the scaled gradient is what gets squared",
    "grad": "the gradient is not squared in v",
    "abs": "v takes |grad| where it needs grad * grad",
    "m": "v is made from m * m; it needs grad * grad",
}
STEP = {
    "scale": SCALE | {"update": "grad_scale multiplies the step; it belongs on the gradient, before m and v"},
    "t": {
        "-1": "bias correction uses t - 1; t counts from 1, so it is the power as it stands",
        "+1": "bias correction uses t + 1; t counts from 1, so it is the power as it stands",
    },
    "correction": {
        "none": "bias correction is missing: m / (1 - beta1^t) and v / (1 - beta2^t)",
        "v": "the bias correction of m is missing: m / (1 - beta1^t)",
        "m": "the bias correction of v is missing: v / (1 - beta2^t)",
        "crossed": "the bias corrections are crossed: m takes beta1, v takes beta2",
        "times": "bias correction multiplies where it must divide",
    },
    "eps": {
        "inside": "eps is inside the square root; it is sqrt(vhat) + eps",
        "before": "eps is added before the bias correction: sqrt(v) + eps; it is sqrt(vhat) + eps",
        "none": "eps is not used, or a tiny number stands in its place: sqrt(vhat) + eps",
    },
    "root": {"none": "the square root of vhat is missing"},
    "moments": {
        "both": "m and v of the step before are used: update them first",
        "m": "m of the step before is used: update it first",
        "v": "v of the step before is used: update it first",
        "grad": "the gradient is used in place of m (that is RMSProp)",
    },
}
DECAY = COUPLED | {
    "none": "the weight decay is missing",
    "no lr": "the decay is not multiplied by lr: param *= 1 - lr * weight_decay",
    "grows": "the decay has the wrong sign: param must shrink",
    "after": "the decay comes after the step, and shrinks it too; decay param first",
    "moment": "the decay is divided by sqrt(vhat) + eps with the step; it acts on param alone",
}


NO_LR = {"1/lr": "lr is forgotten"}
UNCOUPLED = {"": "the decay does not enter the gradient (as in AdamW); here it is part of it, in m and in v"}


def inputs(draw, n):
    return {
        "param": draw.normal(n), "grad": draw.normal(n), "m": draw.normal(n), "v": draw.normal(n) ** 2,
        "t": draw.integers(2, 6), "lr": draw.choose(0.1, 0.2), "beta1": draw.choose(0.6, 0.75),
        "beta2": draw.choose(0.8, 0.9), "eps": draw.choose(0.3, 0.6), "weight_decay": draw.choose(0.25, 0.4),
        "grad_scale": draw.choose(0.35, 0.7),
    }  # fmt: skip


def gradient(case, scale, decay):
    grad = case["grad"] * (1 if scale else case["grad_scale"])
    return grad + case["weight_decay"] * case["param"] if decay == "coupled" else grad


def average(old, new, beta, how):
    """The two terms of beta * old + (1 - beta) * new."""
    keep, take = {"sum": (beta, 1), "swapped": (1 - beta, beta)}.get(how, (beta, 1 - beta))
    return {"old": keep * old, "new": take * new}


def new_m(case, scale="", decay="", betas="", m="", corrected="", written=""):
    beta = case["beta2" if betas else "beta1"]
    terms = average(case["m"], gradient(case, scale, decay), beta, m)
    return finished(terms, case["m"], 1 - beta ** case["t"], corrected, written)


def new_v(case, scale="", decay="", betas="", v="", corrected="", written=""):
    beta, grad = case["beta1" if betas else "beta2"], gradient(case, scale, decay)
    squares = {"once": grad * case["grad"], "grad": grad, "abs": abs(grad)}
    square = sum(new_m(case, scale, decay, betas).values()) ** 2 if v == "m" else squares.get(v, grad * grad)
    return finished(average(case["v"], square, beta, v), case["v"], 1 - beta ** case["t"], corrected, written)


def finished(terms, old, correction, corrected, written):
    """What the array holds in the end."""
    return old if written else {name: term / correction if corrected else term for name, term in terms.items()}


def new_param(case, written="", decay="", correction="", eps="", t="", root="", moments="", **flavours):
    scale, betas, m, v = (flavours.get(name, "") for name in ("scale", "betas", "m", "v"))
    t = case["t"] + int(t or 0)
    terms = new_m(case, scale, decay, betas, m), new_v(case, scale, decay, betas, v)
    first, second = (case[name] if moments in (name, "both") else sum(each.values()) for name, each in zip("mv", terms))
    first = gradient(case, scale, decay) if moments == "grad" else first
    right = [1 - case["beta2" if betas else "beta1"] ** t, 1 - case["beta1" if betas else "beta2"] ** t]
    c1, c2 = {"none": (1, 1), "m": (right[0], 1), "v": (1, right[1]), "crossed": right[::-1],
              "times": (1 / right[0], 1 / right[1])}.get(correction, right)  # fmt: skip
    vhat, add = second / c2, 0 if eps == "none" else case["eps"]
    if eps == "inside":
        below = np.sqrt(abs(vhat) + add)
    elif eps == "before":
        below = (np.sqrt(abs(second)) + add) / np.sqrt(c2)
    else:
        below = (vhat if root else np.sqrt(abs(vhat))) + add
    step = case["lr"] * (case["grad_scale"] if scale == "update" else 1) * first / c1 / below
    rate = case["lr"] * case["weight_decay"]
    shrink = {"none": 1, "coupled": 1, "moment": 1, "no lr": 1 - case["weight_decay"], "grows": 1 + rate}
    shrink = shrink.get(decay, 1 - rate)
    if decay == "moment":
        step = step + rate * case["param"] / below
    elif decay == "after":
        step = step * shrink
    return case["param"] if written else {"decayed param": shrink * case["param"], "step": step}


def outputs(decay, wrong, wrong_in_moments, unwritten, scales):
    """decay: "" (AdamW) or "coupled"; then how it can go wrong in param, and in m and v; how param is not written."""
    shared = {"scale": SCALE, "betas": BETAS}
    moments = shared | {"decay": wrong_in_moments, "corrected": CORRECTED, "written": WRITTEN}
    return (
        Output("param", partial(new_param, decay=decay), right={"decayed param": 1, "step": -1},
               knobs=shared | {"decay": wrong, "m": M, "v": V} | STEP | unwritten, scales=scales),
        Output("m", partial(new_m, decay=decay), right={"old": 1, "new": 1}, knobs=moments | {"m": M}),
        Output("v", partial(new_v, decay=decay), right={"old": 1, "new": 1}, knobs=moments | {"v": V},
               invariants=((lambda v, case: np.min(v) >= 0, "v is an average of squares, so it is never negative"),)),
    )  # fmt: skip


ARGUMENTS = ("param", "grad", "m", "v", "t", "lr", "beta1", "beta2", "eps", "weight_decay", "grad_scale")
EXERCISE = Exercise(
    name="adamw",
    title="AdamW, one step in place",
    task="""One AdamW update (Loshchilov & Hutter 2019, algorithm 2; bias correction as in Kingma & Ba 2015,
algorithm 1).

param, grad, m and v are flat arrays (n,), all else numbers. param, m and v are changed in place (m *= ..., m += ...),
so that the caller sees it; grad is left as it is. m is the running average of the gradient, v that of its square. The
gradient is grad * grad_scale (clipping). The function returns nothing.
""",
    cut=(adamw_step,),
    inputs=inputs,
    calls=lambda case: (Call("adamw_step", ARGUMENTS, changes=("param", "m", "v")),),
    outputs=outputs("", DECAY, COUPLED, {"written": WRITTEN}, NO_LR),
    sizes=({"n": 7}, {"n": 5}, {"n": 11}, {"n": 8}),
    small=({"n": 1}, {"n": 2}),
    dims=lambda case: {"lr": case["lr"]},
    readable=lambda case: bool(case["param"].any()),
    ops=("adamw_step",),
)


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    """One Adam update of flat arrays, in place, with L2 regularisation (Kingma & Ba 2015, algorithm 1): weight_decay
    param is added to the scaled gradient; then param -= lr mhat / (sqrt(vhat) + eps).

    t: the number of this update, from 1. grad_scale multiplies grad (clipping).
    """
    adamw_step(param, grad * grad_scale + weight_decay * param, m, v, t, lr, beta1, beta2, eps, 0.0)


ADAM = replace(
    EXERCISE,
    title="Adam with L2 regularisation, one step in place",
    task="""One Adam update (Kingma & Ba 2015, algorithm 1) with L2 regularisation, as before AdamW: the gradient is
grad * grad_scale + weight_decay * param, and m and v see all of it.

param, grad, m and v are flat arrays (n,), all else numbers. param, m and v are changed in place (m *= ..., m += ...),
so that the caller sees it; grad is left as it is. The function returns nothing.
""",
    cut=(adam_step,),
    calls=lambda case: (Call("adam_step", ARGUMENTS, changes=("param", "m", "v")),),
    outputs=outputs("coupled", UNCOUPLED | {"none": DECAY["none"]}, UNCOUPLED, {}, NO_LR | {"0": WRITTEN["no"]}),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"adam": ADAM})
