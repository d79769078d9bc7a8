# scratchgpt homework: linear
# mistake dweight: shape
# mistake dbias: shape
"""Written for x (N, I): only the first axis is summed."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return np.dot(x, weight.T) + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dx = np.dot(dout, weight)
    dweight = np.matmul(dout.swapaxes(-1, -2), x).sum(axis=0, keepdims=True)
    dbias = np.sum(dout, axis=0)
    return dx, dweight, dbias
