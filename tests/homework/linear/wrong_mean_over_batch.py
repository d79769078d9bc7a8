# scratchgpt homework: linear
# mistake dweight: whole:1/B
# mistake dbias: whole:1/B
"""Divided by the batch size, because "gradients are averaged over the batch"."""

import numpy as np


def linear_forward(x, weight, bias=None):
    return np.einsum("bti,oi->bto", x, weight) + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    batch = dout.shape[0]
    dweight = np.einsum("bto,bti->oi", dout, x) / batch
    dbias = np.einsum("bto->o", dout) / batch
    dx = np.einsum("bto,oi->bti", dout, weight)
    return dx, dweight, dbias
