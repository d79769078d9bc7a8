"""Dropout and the residual connection it stands in; the variant drops the same features at every position."""

from dataclasses import replace
from functools import partial

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.reference import (
    counter_hash,
    dropout_backward,
    dropout_forward,
    residual_dropout_backward,
    residual_dropout_forward,
)

MASK = {
    "none": "nothing is dropped",
    "swapped": "kept and dropped are swapped: an element is kept where its draw is at least p * 2^32",
    "1-p": "dropped with probability 1 - p: kept where a draw is at least p * 2^32, not (1 - p) * 2^32",
    "below": "the right share is kept, but of other elements: kept where a draw is at least p * 2^32",
    "start": "start is ignored: the draws are those of the counters start, start + 1, ...",
    "next": "the draws are those after the right ones: the first is that of the counter start",
    "key": "another key: the draws are those of key itself",
}
FORWARD_MASK = MASK | {"features": "all rows share the draws of the first; each element has its own"}
SHARED_MASK = MASK | {"elements": "each element has its own draw; all positions of a sequence share those of the first"}
SCALE = {
    "none": "the factor 1 / (1 - p) is missing",
    "times": "multiplied by 1 - p; divided by it belongs there",
    "p": "divided by p, the share that is dropped; by 1 - p belongs there",
    "twice": "divided by 1 - p twice",
}
WHERE = {
    "sum": "the sum x + branch is dropped out; the residual path x is not",
    "x": "x is dropped out instead of the branch",
}
PAST = {
    "both": "dx holds the branch's gradient too; what reaches x through the branch is the caller's to add",
    "scaled": "dx is scaled by 1 / (1 - p); the residual path passes dout on unchanged",
}


def inputs(draw, B, T, C, p):
    limit = 10 if draw.small else 2**40
    return {
        "x": draw.normal(B, T, C), "branch": draw.normal(B, T, C), "p": p, "p0": 0.0,
        "key": draw.integers(1, limit), "start": draw.integers(1, limit), "dout": draw.normal(B, T, C),
    }  # fmt: skip


def kept(case, mask="", shared=False):
    """Which elements stay, (B, T, C) or broadcastable to it, under a flavour of the mask."""
    B, T, C = case["x"].shape
    shape = (1, 1, C) if mask == "features" else (B, 1, C) if shared and mask != "elements" else (B, T, C)
    n, p = shape[0] * shape[1] * shape[2], case["p"]
    start = {"start": 0, "next": case["start"] + n}.get(mask, case["start"])
    draws = counter_hash(np, case["key"] + (mask == "key"), start, n).reshape(shape)
    limit = int((1 - p if mask in ("1-p", "below") else p) * 2**32)
    return np.full(shape, True) if mask == "none" else draws < limit if mask in ("swapped", "below") else draws >= limit


def factor(case, mask="", scale="", shared=False):
    """What an element is multiplied by."""
    p = case["p"]
    scales = {"none": 1.0, "times": 1 - p, "p": 1 / p, "twice": 1 / (1 - p) ** 2}
    return kept(case, mask, shared) * scales.get(scale, 1 / (1 - p))


def dropped(case, name, **flavours):
    return case[name] * factor(case, **flavours)


def out(case, where="", **flavours):
    x = case["x"] * factor(case, **flavours) if where else case["x"]
    return {"x": x, "branch": case["branch"] if where == "x" else dropped(case, "branch", **flavours)}


def dx(case, past="", **flavours):
    through = dropped(case, "dout", **flavours)
    return case["dout"] + through if past == "both" else case["dout"] / (1 - case["p"] if past == "scaled" else 1)


def drawn(shared):
    """(check, hint): whether a result is 0 just where the draws say so."""
    where = "draw start + b * C + c is" if shared else "draw start + i, with i in C order, is"
    return (
        lambda value, case: ((value != 0) == kept(case, shared=shared)).all(),
        f"it is 0 exactly where {where} below p * 2^32",
    )


def without(case):
    return {"x": case["x"], "branch": case["branch"]}


def dims(case):
    return dict(zip("BTC", case["x"].shape)) | {"N": case["x"].size}


def pair_outputs(masks, shared):
    """The outputs of the residual pair: out, dx and dbranch, and out_p0 where p is 0."""
    knobs = {"mask": masks, "scale": SCALE}
    return (
        Output("out", partial(out, shared=shared), {"x": 1, "branch": 1}, knobs | {"where": WHERE}),
        Output("dx", partial(dx, shared=shared), knobs={"past": PAST}),
        Output(
            "dbranch", partial(dropped, name="dout", shared=shared), knobs=knobs,
            invariants=(drawn(shared),),
        ),
        Output("out_p0", without, {"x": 1, "branch": 1}),
    )  # fmt: skip


def residual_calls(name):
    """out_p0 comes last: what fails only where p is 0 hides nothing else."""
    return (
        Call(f"{name}_forward", ("x", "branch", "p", "key", "start"), ("out", "cache")),
        Call(f"{name}_backward", ("dout", "cache"), ("dx", "dbranch")),
        Call(f"{name}_forward", ("x", "branch", "p0", "key", "start"), ("out_p0", "cache_p0")),
    )


KNOBS = {"mask": FORWARD_MASK, "scale": SCALE}
EXERCISE = Exercise(
    name="dropout",
    title="Dropout in a residual connection, forward and backward",
    task="""Inverted dropout (Srivastava et al. 2014) of a branch, and x + dropout(branch). All arrays are (B, T, C).

Element i, in C order, is kept iff draw start + i is at least p * 2^32, and what is kept is divided by 1 - p:
counter_hash(np, key, start, n) gives the n draws from start on. The way back drops the same elements. p may be 0.
""",
    cut=(dropout_forward, dropout_backward, residual_dropout_forward, residual_dropout_backward),
    given=(counter_hash,),
    inputs=inputs,
    calls=lambda case: (
        Call("dropout_forward", ("branch", "p", "key", "start"), ("dropped", "keep")),
        Call("dropout_backward", ("dout", "keep"), ("ddropped",)),
        *residual_calls("residual_dropout"),
    ),
    outputs=(
        Output("dropped", partial(dropped, name="branch"), knobs=KNOBS, invariants=(drawn(False),)),
        Output("ddropped", partial(dropped, name="dout"), knobs=KNOBS, invariants=(drawn(False),)),
        *pair_outputs(FORWARD_MASK, shared=False),
    ),
    sizes=({"B": 2, "T": 3, "C": 7, "p": 0.3}, {"B": 3, "T": 4, "C": 5, "p": 0.6}, {"B": 2, "T": 5, "C": 4, "p": 0.2},
           {"B": 5, "T": 2, "C": 6, "p": 0.75}),
    small=({"B": 1, "T": 1, "C": 2, "p": 0.5}, {"B": 1, "T": 2, "C": 2, "p": 0.5}, {"B": 1, "T": 2, "C": 4, "p": 0.25},
           {"B": 2, "T": 2, "C": 4, "p": 0.25}),
    dims=dims,
    readable=lambda case: 0 < kept(case).sum() < case["x"].size,
    ops=("dropout_forward", "dropout_backward", "residual_dropout_forward", "residual_dropout_backward"),
)  # fmt: skip


# ---- the variant


def locked_dropout_forward(x, branch, p, key, start=0):
    """out = x + dropout(branch), all (B, T, C), where all T positions of a sequence drop the same features: the draws
    from start on are for the (B, C) features in C order (Gal & Ghahramani 2016)."""
    B, _, C = branch.shape
    factor, _ = dropout_forward(np.ones((B, 1, C)), p, key, start)
    return x + branch * factor, factor


def locked_dropout_backward(dout, cache):
    """Returns dx, dbranch (B, T, C)."""
    return dout.copy(), dout * cache


LOCKED = replace(
    EXERCISE,
    title="Dropout of the same features at every position, forward and backward",
    task="""x + dropout(branch), all (B, T, C), where all positions of a sequence drop the same features (Gal &
Ghahramani 2016).

Feature c of sequence b is kept iff draw start + b * C + c is at least p * 2^32, and what is kept is divided by 1 - p:
counter_hash(np, key, start, n) gives the n draws from start on. On the way back the same features are dropped.
""",
    cut=(locked_dropout_forward, locked_dropout_backward),
    calls=lambda case: residual_calls("locked_dropout"),
    outputs=pair_outputs(SHARED_MASK, shared=True),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"locked": LOCKED})
