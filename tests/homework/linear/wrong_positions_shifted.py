# scratchgpt homework: linear
# mistake dweight: unknown
"""dout of one position meets x of the position before: nothing that linear maps are known for."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dweight = np.einsum("bto,bti->oi", dout, np.roll(x, 1, axis=1))
    return dout @ weight, dweight, dout.sum((0, 1))
