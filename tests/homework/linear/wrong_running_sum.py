# scratchgpt homework: linear
# mistake dx: rows=running
"""An accumulator that is made once, outside of the loop over the rows."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, [x, weight]


def linear_backward(dout, cache):
    x, weight = cache
    dx, dweight, dbias = np.zeros_like(x), np.zeros_like(weight), np.zeros(weight.shape[0])
    row = np.zeros(weight.shape[1])
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for o in range(weight.shape[0]):
                row += dout[b, t, o] * weight[o]
                dweight[o] += dout[b, t, o] * x[b, t]
                dbias[o] += dout[b, t, o]
            dx[b, t] = row
    return dx, dweight, dbias
