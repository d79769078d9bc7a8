# scratchgpt homework: attention
"""Head by head, with the softmax's whole Jacobian; keys and queries are scaled by D^(-1/4) each."""

import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    root = D**-0.25
    out, probs = np.empty((B, T, H, D)), np.empty((B, H, T, S))
    future = np.arange(S)[None] > np.arange(T)[:, None] + S - T
    for b in range(B):
        hidden = np.zeros((T, S), bool)
        if causal:
            hidden |= future
        if mask is not None:
            hidden |= ~mask[b]
        for h in range(H):
            scores = (q[b, :, h] * root) @ (k[b, :, h] * root).T
            scores[hidden] = -np.inf
            top = scores.max(1, keepdims=True)
            top[top == -np.inf] = 0
            e = np.exp(scores - top)
            total = e.sum(1, keepdims=True)
            total[total == 0] = 1
            probs[b, h] = e / total
            out[b, :, h] = probs[b, h] @ v[b, :, h]
    return out, (q, k, v, probs, root)


def attention_backward(dout, cache):
    q, k, v, probs, root = cache
    dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    B, H, _, S = probs.shape
    for b in range(B):
        for h in range(H):
            p, g = probs[b, h], dout[b, :, h]
            jacobian = p[:, :, None] * np.eye(S) - p[:, :, None] * p[:, None, :]  # (T, S, S)
            ds = np.einsum("tij,tj->ti", jacobian, g @ v[b, :, h].T)
            dq[b, :, h] = ds @ (k[b, :, h] * root) * root
            dk[b, :, h] = ds.T @ (q[b, :, h] * root) * root
            dv[b, :, h] = p.T @ g
    return dq, dk, dv, None
