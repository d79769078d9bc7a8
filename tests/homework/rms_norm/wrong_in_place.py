# scratchgpt homework: rms_norm
# mistake *: overwrites
"""Saves an array by dividing x itself."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rms = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    x /= rms
    return x * weight, (x.copy(), rms, weight)


def rms_norm_backward(dout, cache):
    xhat, rms, weight = cache
    dxhat = dout * weight
    return (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / rms, (dout * xhat).sum((0, 1))
