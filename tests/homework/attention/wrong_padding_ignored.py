# scratchgpt homework: attention
# mistake out: padding=none
# mistake dq: padding=none
# mistake dk: padding=none
# mistake dv: padding=none
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    scores = np.matmul(q.swapaxes(1, 2), k.transpose(0, 2, 3, 1)) / np.sqrt(D)
    if causal:
        t, s = np.ogrid[:T, :S]
        scores[:, :, s > t + S - T] = -np.inf
    scores -= np.maximum(scores.max(axis=3, keepdims=True), -1e9)
    p = np.exp(scores)
    total = p.sum(axis=3, keepdims=True)
    p /= total + (total == 0)
    return np.matmul(p, v.swapaxes(1, 2)).swapaxes(1, 2).copy(), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    g = dout.swapaxes(1, 2)
    dp = np.matmul(g, v.transpose(0, 2, 3, 1))
    ds = p * (dp - (p * dp).sum(axis=3, keepdims=True)) / np.sqrt(q.shape[3])
    dq = np.matmul(ds, k.swapaxes(1, 2)).swapaxes(1, 2)
    dk = np.matmul(ds.swapaxes(2, 3), q.swapaxes(1, 2)).swapaxes(1, 2)
    dv = np.matmul(p.swapaxes(2, 3), g).swapaxes(1, 2)
    return dq.copy(), dk.copy(), dv.copy(), None
