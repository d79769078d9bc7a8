# scratchgpt homework: linear
# mistake dbias: whole:1/T
"""Summed over one leading axis, averaged over the other."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return np.matmul(x, weight.T) + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dweight = np.tensordot(dout, x, axes=((0, 1), (0, 1)))
    return np.matmul(dout, weight), dweight, dout.sum(axis=0).mean(axis=0)
