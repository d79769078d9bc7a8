# scratchgpt homework: linear
# mistake out: bias:0
# mistake dbias: zero
"""The sum with the bias is thrown away, and its gradient never filled in."""

import numpy as np


def linear_forward(x, weight, bias=None):
    out = x @ weight.T
    if bias is not None:
        out + bias
    return out, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dbias = np.zeros(weight.shape[0])
    return dout @ weight, np.einsum("bto,bti->oi", dout, x), dbias
