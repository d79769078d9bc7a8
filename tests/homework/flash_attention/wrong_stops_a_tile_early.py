# scratchgpt homework: flash_attention
# mistake out: partial=last keys
# mistake logsumexp: partial=last keys
"""The keys stop a tile too early."""

import numpy as np


def tile_scores(q, k, mask, causal, t, s, tile, bias=None):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    scores = np.einsum("bthd,bshd->bhts", q[:, t : t + tile], k[:, s : s + tile]) / np.sqrt(D)
    if causal:
        rows = np.arange(t, min(t + tile, T)) + S - T
        scores[:, :, np.arange(s, min(s + tile, S)) > rows[:, None]] = -np.inf
    if mask is not None:
        scores = np.where(mask[:, None, None, s : s + tile], scores, -np.inf)
    return scores


def flash_forward(q, k, v, mask, causal, tile, bias=None):
    (B, T, H, D), S = q.shape, k.shape[1]
    out, lse = np.zeros((B, T, H, D)), np.zeros((B, H, T))
    for t in range(0, T, tile):
        n = min(tile, T - t)
        m, total, acc = np.full((B, H, n), -np.inf), np.zeros((B, H, n)), np.zeros((B, H, n, D))
        for s in range(0, S - tile, tile):
            scores = tile_scores(q, k, mask, causal, t, s, tile)
            new = np.maximum(m, scores.max(-1))
            base = np.where(np.isinf(new), 0, new)
            p = np.exp(scores - base[..., None])
            shrink = np.exp(m - base)
            total = total * shrink + p.sum(-1)
            acc = acc * shrink[..., None] + np.einsum("bhts,bshd->bhtd", p, v[:, s : s + tile])
            m = new
        seen = total > 0
        total[~seen] = 1
        m[~seen] = 0
        out[:, t : t + tile] = (acc / total[..., None]).swapaxes(1, 2)
        lse[:, :, t : t + tile] = m + np.log(total)
    return out, lse


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None):
    T, S, scale = q.shape[1], k.shape[1], q.shape[3] ** -0.5
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    D = np.einsum("bthd,bthd->bht", dout, out)
    for s in range(0, S, tile):
        keys = slice(s, s + tile)
        for t in range(0, T, tile):
            rows = slice(t, t + tile)
            p = np.exp(tile_scores(q, k, mask, causal, t, s, tile) - logsumexp[:, :, rows, None])
            dp = np.einsum("bthd,bshd->bhts", dout[:, rows], v[:, keys])
            ds = p * (dp - D[:, :, rows, None]) * scale
            dv[:, keys] += np.einsum("bhts,bthd->bshd", p, dout[:, rows])
            dq[:, rows] += np.einsum("bhts,bshd->bthd", ds, k[:, keys])
            dk[:, keys] += np.einsum("bhts,bthd->bshd", ds, q[:, rows])
    return dq, dk, dv, None
