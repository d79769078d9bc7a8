# scratchgpt homework: attention/heads_first
import numpy as np


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    B, H, T, D = q.shape
    S = k.shape[2]
    out, p = np.zeros((B, H, T, D)), np.zeros((B, H, T, S))
    for b, h, t in np.ndindex(B, H, T):
        seen = np.ones(S, bool) if mask is None else mask[b].copy()
        if causal:
            seen[max(0, S - T + t + 1) :] = False
        if seen.any():
            z = k[b, h, seen] @ q[b, h, t] / D**0.5
            z = np.exp(z - z.max())
            p[b, h, t, seen] = z / z.sum()
            out[b, h, t] = p[b, h, t] @ v[b, h]
    return out, (q, k, v, p)


def heads_first_attention_backward(dout, cache):
    q, k, v, p = cache
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for b, h, t in np.ndindex(q.shape[:3]):
        w, g = p[b, h, t], dout[b, h, t]
        dw = v[b, h] @ g
        dz = w * (dw - w @ dw) / q.shape[3] ** 0.5
        dq[b, h, t] = dz @ k[b, h]
        dk[b, h] += np.outer(dz, q[b, h, t])
        dv[b, h] += np.outer(w, g)
    return dq, dk, dv
