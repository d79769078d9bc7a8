# scratchgpt homework: linear
# mistake dweight: rows=last sequence
# mistake dbias: rows=last sequence
"""A loop over the batch in which = stands where += belongs."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dx = np.zeros_like(x)
    for b in range(x.shape[0]):
        dx[b] = dout[b] @ weight
        dweight = dout[b].T @ x[b]
        dbias = dout[b].sum(axis=0)
    return dx, dweight, dbias
