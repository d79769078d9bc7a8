# scratchgpt homework: layer_norm
# mistake dx: mean:0
"""The way through the variance is there, the way through the mean is forgotten."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = x.mean(axis=-1, keepdims=True)
    std = np.sqrt(((x - mu) ** 2).mean(axis=-1, keepdims=True) + eps)
    return weight * (x - mu) / std + bias, (x, mu, std, weight)


def layer_norm_backward(dy, cache):
    x, mu, std, gamma = cache
    xhat = (x - mu) / std
    dxhat = dy * gamma
    dvar = (dxhat * (x - mu) * -0.5 * std**-3).sum(-1, keepdims=True)
    dx = dxhat / std + dvar * 2 * (x - mu) / x.shape[-1]
    return dx, (dy * xhat).sum((0, 1)), dy.sum((0, 1))
