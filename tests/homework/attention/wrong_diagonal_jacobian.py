# scratchgpt homework: attention
# mistake dq: softmax=diagonal
# mistake dk: softmax=diagonal
import numpy as np


def softmax(x, where):
    x = np.where(where, x, -np.inf)
    e = np.exp(x - np.maximum(x.max(-1, keepdims=True), -1e30))
    return e / np.where(where.any(-1, keepdims=True), e.sum(-1, keepdims=True), 1.0)


def softmax_backward(dp, p):
    return dp * p * (1 - p)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, _, D = q.shape
    S = k.shape[1]
    where = np.ones((B, 1, T, S), bool)
    if causal:
        where &= np.tri(T, S, S - T, dtype=bool)
    if mask is not None:
        where &= mask[:, None, None]
    q, k, v = (np.moveaxis(a, 2, 1) for a in (q, k, v))
    p = softmax(q @ np.swapaxes(k, 2, 3) / np.sqrt(D), where)
    return np.moveaxis(p @ v, 1, 2).copy(), (q, k, v, p, D)


def attention_backward(dout, cache):
    q, k, v, p, D = cache
    dout = np.moveaxis(dout, 2, 1)
    ds = softmax_backward(dout @ np.swapaxes(v, 2, 3), p) / np.sqrt(D)
    gradients = ds @ k, np.swapaxes(ds, 2, 3) @ q, np.swapaxes(p, 2, 3) @ dout
    return *(np.moveaxis(g, 1, 2).copy() for g in gradients), None
