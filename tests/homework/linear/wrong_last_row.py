# scratchgpt homework: linear
# mistake dweight: rows=last
# mistake dbias: rows=last
"""Loops over rows; the gradients are assigned, not accumulated."""

import numpy as np


def linear_forward(x, weight, bias=None):
    B, T, _ = x.shape
    out = np.zeros((B, T, len(weight)))
    for b in range(B):
        for t in range(T):
            out[b, t] = weight.dot(x[b, t]) + bias
    cache = x, weight
    return out, cache


def linear_backward(dout, cache):
    x, weight = cache
    dx = np.zeros(x.shape)
    dweight = np.zeros(weight.shape)
    dbias = np.zeros(len(weight))
    B, T, _ = x.shape
    for b in range(B):
        for t in range(T):
            dx[b, t] = weight.T.dot(dout[b, t])
            dweight[:] = np.outer(dout[b, t], x[b, t])
            dbias[:] = dout[b, t]
    return dx, dweight, dbias
