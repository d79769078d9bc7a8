# scratchgpt homework: attention
# mistake out: scale=D
# mistake dq: scale=D
# mistake dk: scale=D
# mistake dv: scale=D
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    a = np.zeros((B, H, T, S))
    for t in range(T):
        for s in range(S):
            if causal and s > S - T + t:
                a[:, :, t, s] = -np.inf
            else:
                a[:, :, t, s] = (q[:, t] * k[:, s]).sum(-1) / D
    if mask is not None:
        a = np.where(mask[:, None, None], a, -np.inf)
    biggest = a.max(-1, keepdims=True)
    biggest[~np.isfinite(biggest)] = 0
    a = np.exp(a - biggest)
    total = a.sum(-1, keepdims=True)
    a = np.divide(a, total, out=np.zeros_like(a), where=total > 0)
    out = np.zeros((B, T, H, D))
    for t in range(T):
        for s in range(S):
            out[:, t] += a[:, :, t, s, None] * v[:, s]
    return out, (q, k, v, a, D)


def attention_backward(dout, cache):
    q, k, v, a, D = cache
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    T, S = q.shape[1], k.shape[1]
    da = np.zeros_like(a)
    for t in range(T):
        for s in range(S):
            da[:, :, t, s] = (dout[:, t] * v[:, s]).sum(-1)
            dv[:, s] += a[:, :, t, s, None] * dout[:, t]
    dz = a * (da - (a * da).sum(-1, keepdims=True)) / D
    for t in range(T):
        for s in range(S):
            dq[:, t] += dz[:, :, t, s, None] * k[:, s]
            dk[:, s] += dz[:, :, t, s, None] * q[:, t]
    return dq, dk, dv, None
