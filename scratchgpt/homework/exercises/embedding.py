"""Token and position embeddings, whose table is the head's too; the variant has the positions before the batch."""

from dataclasses import replace

import numpy as np

from scratchgpt.blocks import embed_backward
from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.reference import embedding_backward, embedding_forward

REPEATS = {
    "last": "a token that occurs several times keeps its last gradient alone, as dwte[ids] += dout leaves it; every "
    "use adds, as np.add.at does it",
    "first": "a token that occurs several times keeps its first gradient alone; every use adds",
    "mean": "a token's gradient is divided by the number of its uses; it is their sum",
}
TOKENS = {
    "repeats": REPEATS,
    "rows": {
        "first": "only the first sequence of the batch counts",
        "last": "only the last sequence of the batch counts",
        "order": "the ids are sorted and the rows of dout are not; both need the same order",
    },
}
POSITIONS = {
    "at": {
        "0": "start is ignored: the first token is at position start",
        "next": "the positions are off by one: the first token is at position start itself",
        "ids": "the ids stand where the positions belong",
        "batch": "the positions count the sequences; they count the tokens of a sequence",
    },
}
DPOSITIONS = {
    "at": POSITIONS["at"],
    "rows": {
        "first": "only the first sequence of the batch counts: a position gets the sum over the batch",
        "last": "only the last sequence of the batch counts (= for +=): a position gets the sum over the batch",
        "all": "every position gets the sum over all positions; a sum over the batch alone belongs there",
    },
}
SCALES = {
    "1/B": "averaged over the batch where a sum belongs", "1/T": "averaged over the positions where a sum belongs",
    "1/N": "averaged over all tokens where a sum belongs",
    "sqrt(C)": "the first Transformer scales its embeddings by sqrt(C); GPT does not",
}  # fmt: skip
ADDED = SCALES | {
    "0": "both are added, in place, by +=: an assignment loses what is there, `a = a + b` makes a new array",
    "1/2": "they are added, not averaged", "2": "added twice",
}  # fmt: skip


def inputs(draw, B, T, V, P, C):
    """P leaves room for a start of at least 1, and for positions that run along the batch by mistake; where V is below
    B * T, some token occurs twice."""
    return {
        "ids": draw.integers(0, V, B, T), "wte": draw.normal(V, C), "wpe": draw.normal(P, C),
        "start": draw.integers(1, P - max(B, T) + 1), "dout": draw.normal(B, T, C),
        "g_wte": draw.normal(V, C), "g_wpe": draw.normal(P, C),
    }  # fmt: skip


def places(case, at=""):
    """The row of wpe for each token, (B, T), under a flavour of the position."""
    B, T = case["ids"].shape
    t = np.broadcast_to(np.arange(B)[:, None] if at == "batch" else np.arange(T), (B, T))
    offset = {"0": 0, "next": case["start"] + 1}.get(at, case["start"])
    return (case["ids"] if at == "ids" else t + offset) % len(case["wpe"])


def out(case, at=""):
    return {"token": case["wte"][case["ids"]], "position": case["wpe"][places(case, at)]}


def dwte(case, repeats="", rows=""):
    ids, dout = counted(case, rows)
    gradient = np.zeros_like(case["wte"])
    if rows == "order":
        ids = np.sort(ids, axis=None)
    if repeats in ("last", "first"):
        order = slice(None, None, 1 if repeats == "last" else -1)
        gradient[ids.ravel()[order]] = flat(dout)[order]
        return gradient
    np.add.at(gradient, ids.ravel(), flat(dout))
    uses = np.bincount(ids.ravel(), minlength=len(gradient))[:, None]
    return gradient / np.maximum(uses, 1) if repeats == "mean" else gradient


def dwpe(case, at="", rows=""):
    _, dout = counted(case, rows)
    if rows == "all":
        dout = np.broadcast_to(dout.sum(1, keepdims=True), dout.shape)
    gradient = np.zeros_like(case["wpe"])
    np.add.at(gradient, places(case, at)[: len(dout)].ravel(), flat(dout))
    return gradient


def counted(case, rows):
    """The ids and rows of dout that a sum runs over."""
    some = {"first": slice(1), "last": slice(-1, None)}.get(rows, slice(None))
    return case["ids"][some], case["dout"][some]


def flat(a):
    return a.reshape(-1, a.shape[-1])


def added(old, name, new, gradient):
    """The two parts of an accumulated gradient: what was in it before, and what is added."""
    return lambda case, **flavours: {old: case[name], new: gradient(case, **flavours)}


def dims(case):
    (B, T), (V, C) = case["ids"].shape, case["wte"].shape
    return {"N": B * T, "B": B, "T": T, "C": C, "V": V, "P": len(case["wpe"])}


TOTAL = ((lambda gradient, case: np.allclose(gradient.sum(0), case["dout"].sum((0, 1))), "summed over its rows it is "
          "dout summed over all tokens, because each token adds its gradient to one row"),)  # fmt: skip
PAIR_OUTPUTS = (
    Output("out", out, {"token": 1, "position": 1}, POSITIONS, SCALES),
    Output("dwte", dwte, knobs=TOKENS, scales=SCALES, invariants=TOTAL),
    Output("dwpe", dwpe, knobs=DPOSITIONS, scales=SCALES, invariants=TOTAL),
)

EXERCISE = Exercise(
    name="embedding",
    title="Token and position embeddings, with repeated ids and a tied head",
    task="""out[b, t] = wte[ids[b, t]] + wpe[start + t]: ids (B, T), wte (V, C), wpe (P, C). Here wpe is always given.

A row that is used several times gets the sum of its uses' gradients. A tied head (Press & Wolf 2017) uses wte once
more: embed_backward adds to what the head has put there. It calls ops.embedding_backward(dout, cache): ops is a table
of your own functions.
""",
    cut=(embedding_forward, embedding_backward, embed_backward),
    inputs=inputs,
    calls=lambda case: (
        Call("embedding_forward", ("ids", "wte", "wpe", "start"), ("out", "cache")),
        Call("embedding_backward", ("dout", "cache"), ("dwte", "dwpe")),
        Call("embed_backward", ("ops", "dout", "cache", "g_wte", "g_wpe"), (), ("g_wte", "g_wpe")),
    ),
    outputs=(
        *PAIR_OUTPUTS,
        Output("g_wte", added("head", "g_wte", "lookup", dwte), {"head": 1, "lookup": 1}, TOKENS, ADDED),
        Output("g_wpe", added("earlier", "g_wpe", "position", dwpe), {"earlier": 1, "position": 1}, DPOSITIONS, ADDED),
    ),
    sizes=({"B": 2, "T": 3, "V": 4, "P": 7, "C": 5}, {"B": 3, "T": 2, "V": 5, "P": 6, "C": 4},
           {"B": 2, "T": 5, "V": 3, "P": 8, "C": 4}, {"B": 3, "T": 4, "V": 7, "P": 9, "C": 2}),
    small=({"B": 1, "T": 1, "V": 2, "P": 2, "C": 1}, {"B": 1, "T": 2, "V": 1, "P": 3, "C": 1},
           {"B": 2, "T": 1, "V": 2, "P": 3, "C": 1}, {"B": 2, "T": 2, "V": 3, "P": 4, "C": 2}),
    dims=dims,
    ops=("embedding_forward", "embedding_backward"),
)  # fmt: skip


# ---- the variant


def time_first_embedding_forward(ids, wte, wpe, start):
    """out[t, b] = wte[ids[t, b]] + wpe[start + t]. ids (T, B), wte (V, C), wpe (P, C) -> (T, B, C)."""
    out, cache = embedding_forward(ids.T, wte, wpe, start)
    return out.swapaxes(0, 1).copy(), cache


def time_first_embedding_backward(dout, cache):
    """Returns dwte (V, C), dwpe (P, C): a row used several times receives the sum of its uses' gradients."""
    return embedding_backward(dout.swapaxes(0, 1), cache)


def swapped(case):
    return case | {"ids": case["ids"].T, "dout": case["dout"].swapaxes(0, 1)}


def swapped_output(output):
    def model(case, **knobs):
        made = output.model(swapped(case), **knobs)
        return {term: a.swapaxes(0, 1) for term, a in made.items()} if isinstance(made, dict) else made

    return replace(output, model=model)


TIME_FIRST = replace(
    EXERCISE,
    title="Token and position embeddings, positions first",
    task="""out[t, b] = wte[ids[t, b]] + wpe[start + t]: ids (T, B), wte (V, C), wpe (P, C), out (T, B, C).

A row that is used several times gets the sum of its uses' gradients.
""",
    cut=(time_first_embedding_forward, time_first_embedding_backward),
    inputs=lambda draw, **sizes: swapped(inputs(draw, **sizes)),
    calls=lambda case: (
        Call("time_first_embedding_forward", ("ids", "wte", "wpe", "start"), ("out", "cache")),
        Call("time_first_embedding_backward", ("dout", "cache"), ("dwte", "dwpe")),
    ),
    outputs=tuple(map(swapped_output, PAIR_OUTPUTS)),
    dims=lambda case: dims(swapped(case)),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"time_first": TIME_FIRST})
