# scratchgpt homework: rms_norm
# mistake out: unknown
# mistake dx: unknown
# mistake dweight: unknown
"""Divided by the largest value of the row."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    size = np.abs(x).max(-1, keepdims=True) + eps
    return x / size * weight, (x / size, size, weight)


def rms_norm_backward(dout, cache):
    xhat, size, weight = cache
    dxhat = dout * weight
    return (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / size, (dout * xhat).sum((0, 1))
