"""Attention without the (T, S) matrix of probabilities: online softmax, in tiles. Every other op is `reference`'s.

FlashAttention (Dao et al. 2022; Dao 2023) in NumPy's words. A tile of queries meets the keys a tile at a time and keeps
three things of all the keys so far: the largest score, the sum of the exponentials, and their product with the values.
Forward saves one number per query, logsumexp, from which backward makes each tile of probabilities again: beside arrays
of q's size, a tile of scores is all that is held. This page is for reading: in NumPy tiles save memory, but no time; on
a GPU they save both, because a tile stays on the chip.
"""

import math

from scratchgpt.backend import array_module
from scratchgpt.ops.reference import sum_to

TILE = 64  # queries and keys to a tile


def attention_forward(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """Heads that share keys and values get a copy each: arrays of q's size, which are held anyway."""
    H, G = q.shape[2], k.shape[2]
    if G != H:
        k, v = (a.repeat(H // G, 2) for a in (k, v))
    out, logsumexp = flash_forward(q, k, v, mask, causal, TILE, bias, scale)
    return out, (G, (q, k, v, out.copy(), logsumexp, mask, causal, TILE, bias, scale))


def attention_backward(dout, cache):
    G, cache = cache
    dq, dk, dv, dbias = flash_backward(dout, *cache)
    if dq.shape[2] != G:
        dk, dv = (a.reshape(*a.shape[:2], G, -1, a.shape[3]).sum(3) for a in (dk, dv))
    return dq, dk, dv, dbias


def flash_forward(q, k, v, mask, causal, tile, bias=None, scale=None):
    """softmax(q k^T / sqrt(D)) v per head, a tile of keys at a time (Milakov & Gimelshein 2018, algorithm 3; Dao 2023,
    algorithm 1).

    q (B, T, H, D), k and v (B, S, H, D), mask (B, S) bool, True where a key may be seen, or None. causal: query t is
    the (S - T + t)-th of the S positions and sees keys up to itself. tile: how many queries and keys to a tile; the
    last tile may be smaller. bias and scale: as in the reference.
    Returns out (B, T, H, D) and logsumexp (B, H, T), the logarithm of the sum of exp(score) over the keys that a query
    sees. A query that sees nothing has zeros in both.
    """
    xp = array_module(q)
    (B, T, H, _), (S, _, D) = q.shape, v.shape[1:]
    out, logsumexp = xp.empty((B, T, H, D), q.dtype), xp.empty((B, H, T), q.dtype)
    lowest = float(xp.finfo(q.dtype).min) / 2  # below every score, but finite: -inf - -inf would be NaN
    for t in range(0, T, tile):
        size = min(tile, T - t)
        largest = xp.full((B, H, size, 1), lowest, q.real.dtype)
        total = xp.zeros((B, H, size, 1), q.dtype)  # sum of exp(score - largest)
        summed = xp.zeros((B, H, size, D), q.dtype)  # sum of exp(score - largest) v
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):
            scores = tile_scores(q, k, mask, causal, t, s, tile, bias, scale)  # (B, H, t, s)
            before, largest = largest, xp.maximum(largest, scores.real.max(-1, keepdims=True))
            probs = xp.exp(scores - largest)  # to be divided by their total at the end
            shrink = xp.exp(before - largest)  # what was summed under a smaller maximum is too large by this factor
            total = total * shrink + probs.sum(-1, keepdims=True)
            summed = summed * shrink + probs @ v[:, s : s + tile].transpose(0, 2, 1, 3)
        nothing = total == 0  # no key to see
        total = xp.where(nothing, 1, total)
        out[:, t : t + tile] = (summed / total).transpose(0, 2, 1, 3)
        logsumexp[:, :, t : t + tile] = xp.where(nothing, 0, largest + xp.log(total))[..., 0]
    return out, logsumexp


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None, scale=None):
    """Returns dq (B, T, H, D), dk and dv (B, S, H, D), dbias (bias's shape) or None (Dao 2023, algorithm 2).

    out and logsumexp are forward's, the rest its arguments.
    """
    xp = array_module(q)
    T, S = q.shape[1], k.shape[1]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    qh, kh, vh, dh = (a.transpose(0, 2, 1, 3) for a in (q, k, v, dout))  # (B, H, T, D) or (B, H, S, D)
    dq, dk, dv = (xp.zeros(a.shape, q.dtype) for a in (qh, kh, vh))
    dbias = None if bias is None else xp.zeros(bias.shape, q.dtype)
    # softmax's backward needs sum_s dprobs * probs, a sum over all keys; as out = probs v, it is dout . out
    delta = (dout * out).sum(-1).transpose(0, 2, 1)[..., None]  # (B, H, T, 1)
    for t in range(0, T, tile):
        rows = slice(t, t + tile)
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):
            keys = slice(s, s + tile)
            scores = tile_scores(q, k, mask, causal, t, s, tile, bias, scale)  # (B, H, t, s)
            probs = xp.exp(scores - logsumexp[:, :, rows, None])
            dprobs = dh[:, :, rows] @ vh[:, :, keys].swapaxes(-1, -2)
            dscores = probs * (dprobs - delta[:, :, rows])
            dv[:, :, keys] += probs.swapaxes(-1, -2) @ dh[:, :, rows]
            dk[:, :, keys] += dscores.swapaxes(-1, -2) @ qh[:, :, rows] * scale
            dq[:, :, rows] += dscores @ kh[:, :, keys] * scale
            if bias is not None:
                part = bias_tile(dbias, t, s, tile)
                part += sum_to(dscores, part.shape)
    dq, dk, dv = (xp.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in (dq, dk, dv))
    return dq, dk, dv, dbias


def tile_scores(q, k, mask, causal, t, s, tile, bias=None, scale=None):
    """q k^T / sqrt(D) for the tile of queries that begins at t and the tile of keys that begins at s, -inf where a key
    is hidden: (B, H, tile, tile), less at the ends of T and S. The arguments are flash_forward's."""
    xp = array_module(q)
    T, S = q.shape[1], k.shape[1]
    qh, kh = q[:, t : t + tile].transpose(0, 2, 1, 3), k[:, s : s + tile].transpose(0, 2, 1, 3)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = qh @ kh.swapaxes(-1, -2) * scale  # (B, H, t, s)
    if bias is not None:
        scores = scores + bias_tile(bias, t, s, tile)
    if causal:
        queries, keys = xp.arange(T)[t : t + tile, None], xp.arange(S)[s : s + tile]
        scores = xp.where(keys <= queries + (S - T), scores, -math.inf)
    if mask is not None:
        scores = xp.where(mask[:, None, None, s : s + tile], scores, -math.inf)
    return scores


def bias_tile(bias, t, s, tile):
    """A view of the part of a bias, broadcastable to (B, H, T, S), that is added to a tile of scores."""
    bias = bias[(None,) * (4 - bias.ndim)]
    rows = slice(t, t + tile) if bias.shape[2] > 1 else slice(None)
    keys = slice(s, s + tile) if bias.shape[3] > 1 else slice(None)
    return bias[:, :, rows, keys]


def keys_seen(t, tile, T, S, causal):
    """How many keys, from the first, the queries of the tile that begins at t may see: tiles beyond are never made."""
    return min(S, t + tile + S - T) if causal else S
