# scratchgpt homework: linear/conv1d
import numpy as np


def conv1d_forward(x, weight, bias):
    return np.tensordot(x, weight, axes=1) + bias, (x, weight)


def conv1d_backward(dout, cache):
    x, weight = cache
    rows = tuple(range(dout.ndim - 1))
    return np.tensordot(dout, weight, axes=(-1, -1)), np.tensordot(x, dout, axes=(rows, rows)), dout.sum(axis=rows)
