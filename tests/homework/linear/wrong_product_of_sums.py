# scratchgpt homework: linear
# mistake dx: rows=summed
# mistake dweight: layout=sums
"""dout is summed over the rows first, and used everywhere."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    total = dout.sum((0, 1))
    dweight = np.outer(total, x.sum((0, 1)))
    dx = np.zeros_like(x) + total @ weight
    return dx, dweight, total
