# scratchgpt homework: rms_norm
# mistake out: root=squared
# mistake dx: power=-1 + root=squared
# mistake dweight: root=squared
"""Divided by the mean square itself; the way back multiplies by it."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    ms = np.mean(x * x, axis=-1, keepdims=True) + eps
    return x / ms * weight, (x / ms, ms, weight)


def rms_norm_backward(dout, cache):
    xhat, ms, weight = cache
    dxhat = dout * weight
    dx = ms * (dxhat - xhat * np.mean(dxhat * xhat, axis=-1, keepdims=True))
    return dx, np.tensordot(np.ones(dout.shape[:2]), dout * xhat, 2)
