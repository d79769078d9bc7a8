# scratchgpt homework: rms_norm
# mistake dx: gain=none
# mistake dweight: whole:1/N
"""dx without weight; dweight a mean."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    xhat = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    return xhat * weight, (x, xhat, eps)


def rms_norm_backward(dout, cache):
    x, xhat, eps = cache
    rms = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    dx = (dout - xhat * np.mean(dout * xhat, axis=-1, keepdims=True)) / rms
    return dx, np.mean(dout * xhat, axis=(0, 1))
