"""Flash attention: online softmax in tiles, forward and backward."""

import numpy as np

from scratchgpt.homework.exercises import attention
from scratchgpt.homework.exercises.attention import at, softmax_of, split, swapped
from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.flash import flash_backward, flash_forward, keys_seen, tile_scores

TILE = 16  # in training, of 64 positions
SHIFT = 32.5  # its square over sqrt(2) is a score whose exponential overflows
DIRECT, SUM = "p * dp", "p * rowsum(dout * out)"  # the terms of d loss / d scores, with dp = d loss / d p
OFFSETS = {
    "local": "the causal mask counts positions from the beginning of the tiles; the offsets t and s are missing",
    "query": "the causal mask counts a query's position from the beginning of its tile; the offset t is missing",
    "key": "the causal mask counts a key's position from the beginning of its tile; the offset s is missing",
}
CAUSAL = {name: attention.FORWARD["causal"][name] for name in ("none", "strict", "late", "start")} | OFFSETS
SKIPPED = {
    f"{name} tiles": CAUSAL[name] for name in ("none", "late", "start", "local", "key")
}  # where tiles are skipped
PADDING = {name: attention.FORWARD["padding"][name] for name in ("none", "inverted", "first")} | {
    "tile": "the padding mask of the first tile is used for all of them; the offset s is missing",
}
SCALE = {name: attention.FORWARD["scale"][name] for name in ("none", "D", "width")}
OF_SCORES = {"scale": SCALE, "causal": CAUSAL, "padding": PADDING}
MASKS = OF_SCORES | {"causal": CAUSAL | SKIPPED}
PARTIAL = {
    "partial": {
        "keys": "the last tile of keys, which is smaller, is left out",
        "queries": "the last tile of queries, which is smaller, is left out",
        "both": "the last tiles of queries and keys, which are smaller, are left out",
        "last keys": "the last tile of keys is left out, also where it is whole",
        "last queries": "the last tile of queries is left out, also where it is whole",
    },
}
ONLINE = MASKS | PARTIAL | {
    "rescale": {
        "none": "what was summed before is not rescaled when the maximum moves: both sums need exp(old max - new max)",
        "sum": "the sum of exponentials is not rescaled when the maximum moves; it needs exp(old max - new max)",
        "values": "the sum of the values is not rescaled when the maximum moves; it needs exp(old max - new max)",
        "own": "each tile subtracts its own maximum, and the sums are not rescaled to a common one",
    },
}  # fmt: skip
TOTAL = {name: ONLINE["rescale"][name] for name in ("sum", "own")}
DIVIDE = {
    "none": "the sum of the values is not divided by the sum of the exponentials at the end",
    "each": "each tile has its own softmax; the sum of exponentials runs over all tiles",
    "running": "divided by the sum after each tile, without multiplying by the former sum before the next",
    "running tiles": "divided by the sum after each tile, without multiplying by the former sum before the next",
}
LOGSUMEXP = {
    "no max": "the largest score is not added back: logsumexp = max + log(sum)",
    "max": "this is the largest score; the logarithm of the sum is missing",
    "no log": "the logarithm is missing: logsumexp = max + log(sum)",
}
BACKWARD = MASKS | PARTIAL | {
    "probs": {"tile": "each tile's probabilities are normalised by themselves; they are exp(scores - logsumexp)"},
    "delta": {
        "tile": "sum_s(dp * p) runs over the keys of the tile alone; rowsum(dout * out) runs over all",
        "heads": "rowsum(dout * out) runs over all heads; each head has its own",
        "dout": "rowsum(dout) stands where rowsum(dout * out) belongs",
    },
}  # fmt: skip
LAST = "the last tile of queries alone counts: = where += belongs"
DQ = {"last": "the last tile of keys alone counts: = where += belongs",
      "last seen": "the last tile of keys that a query sees alone counts: = where += belongs"}  # fmt: skip


def inputs(draw, B, T, S, H, D, tile, causal=True, padding=None, shift=0.0):
    """padding: as attention's, or "head": the beginnings of all sequences are hidden."""
    case = attention.inputs(draw, B, T, S, H, D, causal, "tail" if padding == "head" else padding, shift)
    if padding == "head":
        case["mask"] = case["mask"][:, ::-1].copy()
    del case["bias"]
    return case | {"tile": tile}


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    """The op that a model calls, by your functions."""
    out, logsumexp = flash_forward(q, k, v, mask, causal, TILE)
    return out, (q, k, v, out.copy(), logsumexp, mask, causal, TILE)


def attention_backward(dout, cache):
    return flash_backward(dout, *cache)


def with_whole_matrix(q, k, v, mask, causal):
    """What flash_forward must give, from all scores at once: flash_backward is given it."""
    T, S = q.shape[1], k.shape[1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[3])
    if causal:
        scores = np.where(np.tri(T, S, S - T) > 0, scores, -np.inf)
    if mask is not None:
        scores = np.where(mask[:, None, None], scores, -np.inf)
    largest = np.maximum(scores.max(-1, keepdims=True), -1e100)
    exps = np.exp(scores - largest)
    total = exps.sum(-1, keepdims=True)
    seen = np.where(total == 0, 1, total)
    out = np.einsum("bhts,bshd->bthd", exps / seen, v)
    return out, np.where(total == 0, 0, largest + np.log(seen))[..., 0]


def exponentials(q, k, mask, causal, tile):
    """exp(tile_scores) of all tiles side by side, (B, H, T, S): 0 where a key is hidden; at most exp(50)."""
    T, S = q.shape[1], k.shape[1]
    together = np.zeros((q.shape[0], q.shape[2], T, S))
    for t in range(0, T, tile):
        for s in range(0, S, tile):
            scores = tile_scores(q, k, mask, causal, t, s, tile)
            together[:, :, t : t + tile, s : s + tile] = np.exp(np.minimum(scores, 50))
    return together


def positions(case):
    """Of every query (T, 1) and every key (S,): its place, the beginning of its tile; and S - T."""
    tile = case["tile"]
    query, key = np.arange(case["q"].shape[1])[:, None], np.arange(case["k"].shape[1])
    return query, query // tile * tile, key, key // tile * tile, len(key) - len(query)


def scores_of(case, scale="", causal="", padding=""):
    """(B, H, T, S), -inf where a key is hidden."""
    query, query_tile, key, key_tile, late = positions(case)
    shown = np.ones((len(query), len(key)), bool)
    how, _, skipped = causal.partition(" ")
    if case["causal"]:
        shown = {
            "none": shown, "strict": key < query + late, "late": key <= query + late + 1, "start": key <= query,
            "local": key - key_tile <= query - query_tile, "query": key <= query - query_tile + late,
            "key": key - key_tile <= query + late,
        }.get(how, key <= query + late)  # fmt: skip
        if skipped:
            shown = shown & (key_tile < keys_to_see(case))
    if case["mask"] is not None and padding != "none":
        mask = case["mask"]
        mask = {"inverted": ~mask, "first": mask[:1], "tile": mask[:, key - key_tile]}.get(padding, mask)
        shown = shown & mask[:, None, None]
    q, k = split(case["q"]), split(case["k"])
    factor = {"none": 1.0, "D": 1 / q.shape[3], "width": (q.shape[1] * q.shape[3]) ** -0.5, "times": q.shape[3] ** 0.5}
    return np.where(shown, q @ k.swapaxes(2, 3) * factor.get(scale, q.shape[3] ** -0.5), -np.inf)


def keys_to_see(case):
    """Of every query, (T, 1): how many keys its tile has to look at."""
    _, query_tile, key, _, late = positions(case)
    return (
        np.minimum(len(key), query_tile + case["tile"] + late)
        if case["causal"]
        else np.full(query_tile.shape, len(key))
    )


def whole_tiles(length, case, partial, which):
    """How many of the queries or keys are in tiles that are not left out."""
    if partial == f"last {which}":
        return (length - 1) // case["tile"] * case["tile"]
    return length // case["tile"] * case["tile"] if partial in (which, "both") else length


def online(case, rescale="", partial="", divide="", **flavours):
    """(largest, total, out), each (B, H, T, 1 or D), after the last tile of keys."""
    scores, v, tile, seen = scores_of(case, **flavours), split(case["v"]), case["tile"], keys_to_see(case)
    largest, total, summed = np.full((*scores.shape[:3], 1), -np.inf), 0.0, np.zeros(split(case["q"]).shape)
    for s in range(0, whole_tiles(scores.shape[3], case, partial, "keys"), tile):
        part = scores[..., s : s + tile]
        top = part.max(-1, keepdims=True)
        before, largest = largest, top if rescale == "own" else np.maximum(largest, top)
        finite = np.where(np.isinf(largest), 0, largest)
        probs, shrink = np.exp(part - finite), np.exp(np.minimum(before - finite, 0))
        if divide == "each":
            probs = softmax_of(part)
        total = total * (1 if rescale in ("none", "own", "sum") else shrink) + probs.sum(-1, keepdims=True)
        summed = summed * (1 if rescale in ("none", "own", "values") or divide == "each" else shrink)
        summed = summed + probs @ v[:, :, s : s + tile]
        if divide.startswith("running"):
            counts = s < seen if divide == "running tiles" else True
            summed = summed / np.where((total == 0) | ~np.array(counts), 1, total)
    out = summed if divide else summed / np.where(total == 0, 1, total)
    return np.where(np.isinf(largest), 0, largest), total, out


def out(case, partial="", **flavours):
    _, _, out = online(case, partial=partial, **flavours)
    out[:, :, whole_tiles(out.shape[2], case, partial, "queries") :] = 0
    return swapped(out)


def logsumexp(case, value="", partial="", **flavours):
    largest, total, _ = online(case, partial=partial, **flavours)
    log = np.log(np.where(total == 0, 1, total))
    value = {"no max": log, "max": largest, "no log": largest + total}.get(value, largest + log)[..., 0]
    value[:, :, whole_tiles(value.shape[2], case, partial, "queries") :] = 0
    return value


def probabilities(case, probs="", partial="", **flavours):
    scores = scores_of(case, **flavours)
    p, tile = np.exp(np.minimum(scores - logsumexp(case)[..., None], 500)), case["tile"]
    if probs == "tile":
        p = np.concatenate([softmax_of(scores[..., s : s + tile]) for s in range(0, scores.shape[3], tile)], -1)
    p[:, :, whole_tiles(p.shape[2], case, partial, "queries") :] = 0
    p[..., whole_tiles(p.shape[3], case, partial, "keys") :] = 0
    return p


def dscores(case, delta="", **flavours):
    """{term: array}: the two terms of d loss / d scores, times the scale."""
    p, dout, key_tile = probabilities(case, **flavours), split(case["dout"]), positions(case)[3]
    dp = dout @ split(case["v"]).swapaxes(2, 3)
    rows = dout if delta == "dout" else dout * split(out(case))
    rows = rows.sum((1, 3) if delta == "heads" else 3, keepdims=True)
    if delta == "tile":
        rows = (dp * p) @ (key_tile[:, None] == key_tile).astype(float)
    scale = dout.shape[3] ** -0.5
    return {DIRECT: p * dp * scale, SUM: p * rows * scale}


def dq(case, tiles="", **flavours):
    key_tile = positions(case)[3]
    seen = keys_to_see(case) if tiles == "last seen" else len(key_tile)
    counts = key_tile == (seen - 1) // case["tile"] * case["tile"] if tiles else 1.0
    return {name: swapped(ds * counts @ split(case["k"])) for name, ds in dscores(case, **flavours).items()}


def last_queries(case, tiles):
    """1 for the queries, (T, 1), that count."""
    query_tile = positions(case)[1]
    return query_tile == query_tile[-1] if tiles else 1.0


def dk(case, tiles="", **flavours):
    q, counts = split(case["q"]), last_queries(case, tiles)
    return {name: swapped((ds * counts).swapaxes(2, 3) @ q) for name, ds in dscores(case, **flavours).items()}


def dv(case, tiles="", **flavours):
    p = probabilities(case, **flavours) * last_queries(case, tiles)
    return swapped(p.swapaxes(2, 3) @ split(case["dout"]))


SCALES = attention.SCALES | {"1/D": "a mean where a sum belongs"}
WEIGHTS = {name: values for name, values in BACKWARD.items() if name != "delta"}
ATTENTION = {output.name: output for output in attention.OUTPUTS}  # for the invariants
OUTPUTS = (
    Output(
        "exponentials", lambda case, **flavours: np.exp(np.minimum(scores_of(case, **flavours), 50)), knobs=OF_SCORES
    ),
    Output("out", out, knobs=ONLINE | {"divide": DIVIDE}, invariants=ATTENTION["out"].invariants),
    Output("logsumexp", logsumexp, knobs=ONLINE | {"rescale": TOTAL, "value": LOGSUMEXP}),
    Output("dq", dq, {DIRECT: 1, SUM: -1}, BACKWARD | {"tiles": DQ}, SCALES),
    Output("dk", dk, {DIRECT: 1, SUM: -1}, BACKWARD | {"tiles": {"last": LAST}}, SCALES, ATTENTION["dk"].invariants),
    Output("dv", dv, knobs=WEIGHTS | {"tiles": {"last": LAST}}, scales=SCALES, invariants=ATTENTION["dv"].invariants),
)
BACK = ("dout", "q", "k", "v", "right_out", "right_logsumexp", "mask", "causal", "tile")


def tiled(tile, *sizes, **options):
    return at(*sizes, tile=tile, **options)


EXERCISE = Exercise(
    name="flash_attention",
    title="Flash attention: online softmax in tiles, forward and backward",
    task="""Attention without the T x S matrix of probabilities (Milakov & Gimelshein 2018; Dao et al. 2022; Dao 2023).

Write tile_scores first. flash_forward keeps the largest score, the sum of exponentials and the sum of values so far,
and brings the sums to the new maximum when it moves. flash_backward makes the probabilities again from logsumexp; out
and logsumexp are given to it. The last tiles may be smaller, and a tile may be hidden whole. bias and scale are None.
""",
    cut=(tile_scores, flash_forward, flash_backward),
    given=(keys_seen, attention_forward, attention_backward, exponentials, with_whole_matrix),
    inputs=inputs,
    calls=lambda case: (
        Call("exponentials", ("q", "k", "mask", "causal", "tile"), ("exponentials",)),
        Call("flash_forward", ("q", "k", "v", "mask", "causal", "tile"), ("out", "logsumexp")),
        Call("with_whole_matrix", ("q", "k", "v", "mask", "causal"), ("right_out", "right_logsumexp")),
        Call("flash_backward", BACK, ("dq", "dk", "dv", "dbias")),
    ),
    outputs=OUTPUTS,
    sizes=(
        tiled(3, 2, 5, 7, 3, 4), tiled(2, 3, 4, 7, 2, 5, causal=False, padding="head"),
        tiled(2, 2, 5, 3, 4, 2, shift=-SHIFT), tiled(2, 2, 5, 5, 3, 2, padding="tail", shift=SHIFT),
        tiled(4, 3, 4, 8, 2, 3, padding="empty"),
    ),
    small=(
        tiled(1, 1, 1, 2, 1, 1), tiled(1, 1, 2, 2, 1, 1), tiled(1, 1, 1, 2, 1, 1, padding="tail"),
        tiled(1, 1, 1, 2, 1, 1, padding="empty"), tiled(2, 1, 1, 3, 1, 1), tiled(2, 1, 3, 3, 1, 1),
        tiled(2, 1, 1, 3, 1, 1, padding="head"), tiled(1, 1, 1, 2, 1, 4), tiled(1, 1, 1, 2, 2, 1),
        tiled(2, 1, 4, 4, 1, 1), tiled(2, 2, 1, 4, 1, 1, padding="tail"), tiled(2, 2, 2, 3, 2, 2, padding="tail"),
    ),
    dims=attention.EXERCISE.dims,
    readable=attention.EXERCISE.readable,
    ops=("attention_forward", "attention_backward"),
    memory=(tiled(16, 1, 128, 128, 1, 2), 128 * 128 * 12, "all T x S scores take 131 kB; a tile of them is enough"),
)  # fmt: skip
