"""A key-value cache: what changes when a model reads a text in pieces; the variant stores positions before heads."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.exercises import attention
from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.models.gpt import extend
from scratchgpt.ops.reference import attention_forward, embedding_forward

POSITION = {
    "position": {
        "zero": "positions begin at 0 with every piece; the first new token is at position start",
        "one": "all new tokens get the position start; the t-th is at start + t",
        "late": "positions begin at start + 1; counting from 0, the first new token is at start",
        "early": "positions begin at start - 1; counting from 0, the first new token is at start",
    }
}
WHERE = {
    "where": {
        "zero": "the new rows overwrite the oldest (from 0); they belong behind the first `length`",
        "early": "the new rows begin at length - 1, over the last row that is held; they begin at length",
        "late": "the new rows begin at length + 1 and leave a gap; they begin at length",
        "end": "the new rows are written at the end of the store; they belong behind the first `length`",
    }
}
MIXED = "reshape where transpose(0, 2, 1, 3) belongs on the way {} the store: positions and heads are mixed"
AXES = {"in": MIXED.format("into"), "out": MIXED.format("out of"), "both": MIXED.format("into and out of")}
WRITTEN = {"written": {"no": "the new rows are never written into the store, so the next piece does not find them"}}
ORDER = {"new first": "the new rows come before the old ones; they follow them"}
MADE = {
    "new": "only the new rows are returned: the queries do not see the past",
    "whole": "the whole store is returned, with the places not yet written; return the first length + T",
}
ATTENTION = {name: attention.FORWARD[name] for name in ("scale", "hide", "axis", "heads")}
ATTENTION["values"] = {"k": "the probabilities weigh k; v belongs there"}
ATTENTION["causal"] = {way: attention.FORWARD["causal"][way] for way in ("none", "strict", "late", "start", "past")}
PADDING = {way: said for way, said in attention.FORWARD["padding"].items() if way != "without causal"}


def decode(ids, wte, wpe, n_head, cuts):
    """A layer of attention over ids (B, T) as generation runs it: cut into a prompt, then some tokens at a time.

    wte (V, 3C) and wpe (n_ctx, 3C) give queries, keys and values side by side. Returns (B, T, H, D), which must be what
    the text gives in one piece.
    """
    shape = (len(ids), n_head, len(wpe), wte.shape[1] // 3 // n_head)
    keys, values, out = np.zeros(shape), np.zeros(shape), []
    for start, end in zip([0, *cuts], [*cuts, ids.shape[1]]):
        x, _ = embedding_forward(ids[:, start:end], wte, wpe, start)
        q, k, v = (part.reshape(len(ids), end - start, n_head, -1) for part in np.split(x, 3, -1))
        k, v = extend(keys, k, start), extend(values, v, start)
        out.append(attention_forward(q, k, v, None, None, True)[0])
    return np.concatenate(out, 1)


def inputs(draw, B, T, H, D):
    length = draw.integers(1, T) if draw.small else draw.integers(2, T - 1)
    V, n_ctx = (2, T + 1) if draw.small else (5, T + 2)
    ids, mask = draw.integers(0, V, B, T), draw.integers(0, 3, B, T) > 0
    mask[:, 0] = True  # every query sees a key
    return {
        "ids": ids, "wte": draw.normal(V, 3 * H * D), "wpe": draw.normal(n_ctx, 3 * H * D), "n_head": H,
        "cuts": [length] if draw.small else [length, length + 1], "new_ids": ids[:, length:].copy(), "length": length,
        "store": draw.normal(B, H, n_ctx, D), "new": draw.normal(B, T - length, H, D),
        "q": draw.normal(B, T - length, H, D), "k": draw.normal(B, T, H, D), "v": draw.normal(B, T, H, D),
        "bias": None, "mask": mask, "causal": True,
    }  # fmt: skip


def embedded(case, position=""):
    return embed(case["new_ids"], case["wte"], case["wpe"], case["length"], position)


def embed(ids, wte, wpe, start, position=""):
    start = {"zero": 0, "late": start + 1, "early": max(0, start - 1)}.get(position, start)
    T = ids.shape[1]
    rows = np.full(T, start) if position == "one" else np.arange(start, start + T)
    token = wte[ids]
    return {"token": token, "position": np.broadcast_to(wpe[rows], token.shape)}


def grown(store, new, length, where="", axes="", written="", made=""):
    """The store after the new rows, and what is returned of it; (B, H, n_ctx, D) both."""
    (B, T, H, D), end = new.shape, length + new.shape[1]
    n_ctx = store.shape[2]
    rows = new.reshape(B, H, T, D) if axes in ("in", "both") else new.transpose(0, 2, 1, 3)
    first = {"zero": 0, "early": max(0, length - 1), "late": length + 1, "end": n_ctx - T}.get(where, length)
    after = store.copy()
    after[:, :, first : first + T] = rows
    held = {"new": rows, "whole": after, "new first": np.concatenate([rows, store[:, :, :length]], 2)}
    held = held.get(made, after[:, :, :end])
    back = held.reshape(B, -1, H, D) if axes in ("out", "both") else held.transpose(0, 2, 1, 3)
    return store if written else after, back


def held(case, **flavours):
    return grown(case["store"], case["new"], case["length"], **flavours)[1]


def store(case, **flavours):
    return grown(case["store"], case["new"], case["length"], **flavours)[0]


def out(case, position="", where="", axes="", written="", made="", **flavours):
    ids, H = case["ids"], case["n_head"]
    (B, T), C = ids.shape, case["wte"].shape[1] // 3
    stores, pieces = np.zeros((2, B, H, len(case["wpe"]), C // H)), []
    for start, end in zip([0, *case["cuts"]], [*case["cuts"], T]):
        x = sum(embed(ids[:, start:end], case["wte"], case["wpe"], start, position).values())
        q, *new = (part.reshape(B, end - start, H, -1) for part in np.split(x, 3, -1))
        for i in range(2):
            stores[i], new[i] = grown(stores[i], new[i], start, where, axes, written, made)
        piece = {"q": q, "k": new[0], "v": new[1], "mask": None, "causal": True}
        pieces.append(attention.out(piece, **flavours))
    return np.concatenate(pieces, 1)


def calls(case):
    return (
        Call("embedding_forward", ("new_ids", "wte", "wpe", "length"), ("x", "embedding_cache")),
        Call("extend", ("store", "new", "length"), ("held",), ("store",)),
        Call("attention_forward", ("q", "k", "v", "bias", "mask", "causal"), ("attended", "attention_cache")),
        Call("decode", ("ids", "wte", "wpe", "n_head", "cuts"), ("out",)),
    )


EXERCISE = Exercise(
    name="kv_cache",
    title="A key-value cache: a text in pieces gives what it gives as a whole",
    task="""To write one more token, a model need not read the whole text again: the keys and values of the tokens it
has read are kept. Three functions must know that T new tokens follow `start` or `length` old ones, S tokens in all.

embedding_forward: the new tokens are at the positions start, start + 1, ...
extend: their keys (or values) are written into the store, behind those that are there.
attention_forward: query t is at position S - T + t, and sees what is there and before it (causal), but no key whose
mask (B, S) is False. bias and scale are None, and G is H. (The exercise "attention" has its backward.)

The two forwards return out and a cache for the way back, which is not asked for here: return out, None. decode, below,
runs all three; it must give what the text gives in one piece.
""",
    cut=(embedding_forward, extend, attention_forward),
    given=(decode,),
    inputs=inputs,
    calls=calls,
    outputs=(
        Output("x", embedded, right={"token": 1, "position": 1}, knobs=POSITION),
        Output("held", held, knobs=WHERE | {"made": ORDER, "axes": AXES}),
        Output("store", store, knobs=WHERE | WRITTEN | {"axes": {"in": AXES["in"]}}),
        Output("attended", attention.out, knobs=ATTENTION | {"padding": PADDING}),
        Output("out", out, knobs=POSITION | WHERE | WRITTEN | ATTENTION | {"made": ORDER | MADE, "axes": AXES},
               parts=("x", "held", "store", "attended")),
    ),
    sizes=({"B": 2, "T": 7, "H": 3, "D": 4}, {"B": 3, "T": 6, "H": 2, "D": 5}, {"B": 2, "T": 9, "H": 4, "D": 3},
           {"B": 4, "T": 8, "H": 2, "D": 3}),
    small=({"B": 1, "T": 2, "H": 1, "D": 1}, {"B": 1, "T": 3, "H": 1, "D": 1}, {"B": 1, "T": 2, "H": 1, "D": 2},
           {"B": 1, "T": 3, "H": 2, "D": 1}, {"B": 2, "T": 4, "H": 2, "D": 2}),
    dims=lambda case: dict(zip("BTHD", case["k"].shape)),
)  # fmt: skip


def extend_rows(store, new, length):
    """Writes new (B, T, H, D), the keys or the values of the T tokens that follow the first `length`, into store
    (B, n_ctx, H, D), in place; returns those of all tokens up to now, (B, length + T, H, D)."""
    return extend(store.transpose(0, 2, 1, 3), new, length)


def rows_first(case):
    return case | {"store": case["store"].transpose(0, 2, 1, 3)}


ROWS = replace(
    EXERCISE,
    title="A key-value cache that stores positions before heads",
    task=EXERCISE.task.partition(" decode")[0].replace("\nextend:", "\nextend_rows:") + """
The store is (B, n_ctx, H, D): positions come before heads.
""",
    cut=(embedding_forward, extend_rows, attention_forward),
    given=(),
    inputs=lambda draw, **sizes: rows_first(inputs(draw, **sizes)),
    calls=lambda case: (*calls(case)[:3:2], Call("extend_rows", ("store", "new", "length"), ("held",), ("store",))),
    outputs=(
        EXERCISE.outputs[0],
        Output("held", lambda case, **k: held(rows_first(case), **k), knobs=WHERE | {"made": ORDER}),
        Output("store", lambda case, **k: store(rows_first(case), **k).transpose(0, 2, 1, 3), knobs=WHERE | WRITTEN),
        EXERCISE.outputs[3],
    ),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"rows": ROWS})
