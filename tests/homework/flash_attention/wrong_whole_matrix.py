# scratchgpt homework: flash_attention
# mistake *: held
"""Right, and not flash: all scores at once."""

import numpy as np


def tile_scores(q, k, mask, causal, t, s, tile, bias=None):
    T, S = q.shape[1], k.shape[1]
    return all_scores(q, k, mask, causal)[:, :, t : min(t + tile, T), s : min(s + tile, S)].copy()


def all_scores(q, k, mask, causal):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D)
    if causal:
        scores = np.where(np.tri(T, S, S - T, dtype=bool), scores, -np.inf)
    return scores if mask is None else np.where(mask[:, None, None], scores, -np.inf)


def flash_forward(q, k, v, mask, causal, tile, bias=None):
    scores = all_scores(q, k, mask, causal)
    largest = np.maximum(scores.max(-1, keepdims=True), -1e30)
    probs = np.exp(scores - largest)
    total = probs.sum(-1, keepdims=True)
    empty = total == 0
    total[empty] = 1
    out = np.einsum("bhts,bshd->bthd", probs / total, v)
    return out, np.where(empty, 0, largest + np.log(total))[..., 0]


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None):
    probs = np.exp(all_scores(q, k, mask, causal) - logsumexp[..., None])
    delta = np.einsum("bthd,bthd->bht", dout, out)[..., None]
    dscores = probs * (np.einsum("bthd,bshd->bhts", dout, v) - delta) / np.sqrt(q.shape[3])
    dq = np.einsum("bhts,bshd->bthd", dscores, k)
    dk = np.einsum("bhts,bthd->bshd", dscores, q)
    return dq, dk, np.einsum("bhts,bthd->bshd", probs, dout), None
