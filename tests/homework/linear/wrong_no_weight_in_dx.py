# scratchgpt homework: linear
# mistake dx: weight=1
# mistake dweight: x=0
"""The inner derivatives are forgotten: out = x W^T, so dx needs W and dweight needs x."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x.shape, weight.shape)


def linear_backward(dout, cache):
    x_shape, weight_shape = cache
    dbias = dout.sum(axis=tuple(range(dout.ndim - 1)))
    dx = np.broadcast_to(dout.sum(-1, keepdims=True), x_shape).copy()
    dweight = np.repeat(dbias[:, None], weight_shape[1], axis=1)
    return dx, dweight, dbias
