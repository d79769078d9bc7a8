# scratchgpt homework: attention
"""One query at a time, over the keys it sees."""

import math

import numpy as np


def seen_by(t, T, S, keys, causal):
    end = S - T + t + 1 if causal else S
    return [s for s in range(max(0, min(S, end))) if keys is None or keys[s]]


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    out = np.zeros_like(q)
    weights = {}
    for b in range(B):
        for t in range(T):
            seen = seen_by(t, T, S, None if mask is None else mask[b], causal)
            if not seen:
                continue
            for h in range(H):
                scores = np.array([q[b, t, h] @ k[b, s, h] for s in seen]) / math.sqrt(D)
                e = np.exp(scores - max(scores))
                p = e / e.sum()
                weights[b, t, h] = seen, p
                for s, weight in zip(seen, p):
                    out[b, t, h] += weight * v[b, s, h]
    return out, (q, k, v, weights)


def attention_backward(dout, cache):
    q, k, v, weights = cache
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    scale = q.shape[-1] ** -0.5
    for (b, t, h), (seen, p) in weights.items():
        g = dout[b, t, h]
        dp = np.array([g @ v[b, s, h] for s in seen])
        ds = p * (dp - dp @ p)
        for i, s in enumerate(seen):
            dv[b, s, h] += p[i] * g
            dq[b, t, h] += ds[i] * k[b, s, h] * scale
            dk[b, s, h] += ds[i] * q[b, t, h] * scale
    return dq, dk, dv, None
