# scratchgpt homework: rms_norm
# mistake dx: power=2 + square:C
"""A sum for the mean, and the inverse of the mean square for that of its root."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    square = (x**2).mean(axis=-1, keepdims=True) + eps
    return x / np.sqrt(square) * weight, (x, square, weight)


def rms_norm_backward(dout, cache):
    x, square, weight = cache
    xhat = x / np.sqrt(square)
    d = weight * dout
    dx = (d - xhat * np.sum(d * xhat, axis=-1, keepdims=True)) / square
    return dx, np.sum(dout * xhat, axis=(0, 1))
