# scratchgpt homework: linear
# mistake dweight: layout=result
"""The product comes out (I, O) and is reshaped to weight's shape."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return np.dot(x, weight.T) + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    flat_x, flat_dout = x.reshape(-1, x.shape[-1]), dout.reshape(-1, dout.shape[-1])
    dweight = np.dot(flat_x.T, flat_dout).reshape(weight.shape)
    return np.dot(dout, weight), dweight, flat_dout.sum(0)
