# scratchgpt homework: layer_norm
# mistake dx: means=batch
"""The formula is right, the means are those of batch norm."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = x.mean(axis=-1, keepdims=True)
    std = np.sqrt(((x - mu) ** 2).mean(axis=-1, keepdims=True) + eps)
    xhat = (x - mu) / std
    return xhat * weight + bias, (xhat, std, weight)


def layer_norm_backward(dy, cache):
    xhat, std, gamma = cache
    dxhat = dy * gamma
    dx = (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) / std
    return dx, (dy * xhat).sum((0, 1)), dy.sum((0, 1))
