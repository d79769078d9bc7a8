# scratchgpt homework: layer_norm
# mistake out: std=ddof
# mistake dx: std=ddof
# mistake dweight: std=ddof
"""The standard deviation is the statistician's."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    rstd = 1.0 / np.sqrt(np.var(x, axis=-1, ddof=1, keepdims=True) + eps)
    xhat = (x - np.mean(x, axis=-1, keepdims=True)) * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    g = dout * weight
    dx = rstd * (g - np.mean(g, axis=-1, keepdims=True) - xhat * np.mean(g * xhat, axis=-1, keepdims=True))
    return dx, np.sum(dout * xhat, axis=(0, 1)), np.sum(dout, axis=(0, 1))
