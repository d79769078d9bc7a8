# scratchgpt homework: attention/heads_first
# mistake out: raises
# mistake dq: raises
# mistake dk: raises
# mistake dv: raises
"""The library's own attention, which takes (B, T, H, D)."""

import math

import numpy as np


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    scale = 1 / math.sqrt(q.shape[-1])
    qh, kh, vh = (a.transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = qh @ kh.swapaxes(-1, -2) * scale
    T, S = scores.shape[-2:]
    if causal and T > 1:
        scores = np.where(np.arange(S) <= np.arange(T)[:, None] + (S - T), scores, -math.inf)
    if mask is not None:
        scores = np.where(mask[:, None, None, :], scores, -math.inf)
    largest = scores.max(-1, keepdims=True)
    largest = np.where(largest == -math.inf, 0, largest)
    probs = np.exp(scores - largest)
    total = probs.sum(-1, keepdims=True)
    probs /= np.where(total == 0, 1, total)
    out = np.ascontiguousarray((probs @ vh).transpose(0, 2, 1, 3))
    return out, (q, k, v, probs)


def heads_first_attention_backward(dout, cache):
    q, k, v, probs = cache
    scale = 1 / math.sqrt(q.shape[-1])
    qh, kh, vh, dh = (a.transpose(0, 2, 1, 3) for a in (q, k, v, dout))
    dv = probs.swapaxes(-1, -2) @ dh
    dprobs = dh @ vh.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))
    dq = dscores @ kh * scale
    dk = dscores.swapaxes(-1, -2) @ qh * scale
    return tuple(np.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in (dq, dk, dv))
