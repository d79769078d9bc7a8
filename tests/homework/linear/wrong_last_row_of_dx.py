# scratchgpt homework: linear
# mistake dx: rows=last
# mistake dweight: x=0 + rows=last
"""The loop ends before the assignments, and dweight has forgotten x."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dx = np.zeros(x.shape)
    dbias = 0
    for index in np.ndindex(x.shape[:-1]):
        row = dout[index]
        dbias = dbias + row
    dx[index] = row @ weight
    dweight = np.outer(row, np.ones(x.shape[-1]))
    return dx, dweight, dbias
