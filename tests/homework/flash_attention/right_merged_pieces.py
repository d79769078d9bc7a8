# scratchgpt homework: flash_attention
"""Each tile is attention on its own, with its own logsumexp; two pieces are merged by their weights. No maximum is
carried along: the logsumexp is all that is needed."""

import math

import numpy as np


def tile_scores(q, k, mask, causal, t, s, tile, bias=None):
    T, S = q.shape[1], k.shape[1]
    q, k = q[:, t : t + tile], k[:, s : s + tile]
    scores = np.empty((len(q), q.shape[2], q.shape[1], k.shape[1]))
    for j in range(k.shape[1]):
        column = (q * k[:, j, None]).sum(-1) / math.sqrt(q.shape[-1])  # (B, t, H)
        if causal:
            column[:, : max(0, s + j - (t + S - T))] = -math.inf
        if mask is not None:
            column[~mask[:, s + j]] = -math.inf
        scores[..., j] = column.swapaxes(1, 2)
    return scores


def piece(scores, v):
    top = np.maximum(scores.max(-1, keepdims=True), -1e300)
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    out = e @ v / np.where(total == 0, 1, total)
    return out, np.where(total == 0, -np.inf, top + np.log(np.where(total == 0, 1, total)))


def merge(a, b):
    (out_a, lse_a), (out_b, lse_b) = a, b
    lse = np.logaddexp(lse_a, lse_b)
    safe = np.where(np.isinf(lse), 0, lse)
    return out_a * np.exp(lse_a - safe) + out_b * np.exp(lse_b - safe), lse


def flash_forward(q, k, v, mask, causal, tile, bias=None):
    B, T, H, D = q.shape
    S = k.shape[1]
    vh = np.moveaxis(v, 2, 1)
    outs, lses = [], []
    for t in range(0, T, tile):
        n = min(tile, T - t)
        state = np.zeros((B, H, n, D)), np.full((B, H, n, 1), -np.inf)
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):  # noqa: F821  given
            scores = tile_scores(q, k, mask, causal, t, s, tile)
            state = merge(state, piece(scores, vh[:, :, s : s + tile]))
        outs.append(state[0])
        lses.append(state[1])
    lse = np.concatenate(lses, 2)[..., 0]
    return np.moveaxis(np.concatenate(outs, 2), 1, 2).copy(), np.where(np.isinf(lse), 0, lse)


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for t in range(0, T, tile):
        g, o = np.moveaxis(dout[:, t : t + tile], 2, 1), np.moveaxis(out[:, t : t + tile], 2, 1)
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):  # noqa: F821  given
            qh, kh, vh = (np.moveaxis(a, 2, 1) for a in (q[:, t : t + tile], k[:, s : s + tile], v[:, s : s + tile]))
            p = np.exp(tile_scores(q, k, mask, causal, t, s, tile) - logsumexp[:, :, t : t + tile, None])
            ds = p * (g @ np.swapaxes(vh, 2, 3) - (g * o).sum(-1, keepdims=True))
            dq[:, t : t + tile] += np.moveaxis(ds @ kh, 1, 2) / math.sqrt(D)
            dk[:, s : s + tile] += np.moveaxis(np.swapaxes(ds, 2, 3) @ qh, 1, 2) / math.sqrt(D)
            dv[:, s : s + tile] += np.moveaxis(np.swapaxes(p, 2, 3) @ g, 1, 2)
    return dq, dk, dv, None
