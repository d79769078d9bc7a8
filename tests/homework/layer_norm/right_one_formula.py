# scratchgpt homework: layer_norm
"""dx in one formula, with sums; the cache holds the inputs and everything is computed again."""

import numpy as np


def normalise(x, eps):
    std = np.sqrt(np.var(x, axis=-1, keepdims=True) + eps)
    return (x - np.mean(x, axis=-1, keepdims=True)) / std, std


def layer_norm_forward(x, weight, bias, eps=1e-5):
    return normalise(x, eps)[0] * weight + bias, (x, weight, eps)


def layer_norm_backward(dout, cache):
    x, weight, eps = cache
    xhat, std = normalise(x, eps)
    C = x.shape[-1]
    d = dout * weight
    dx = (C * d - d.sum(-1, keepdims=True) - xhat * (d * xhat).sum(-1, keepdims=True)) / (C * std)
    return dx, (dout * xhat).reshape(-1, C).sum(0), dout.reshape(-1, C).sum(0)
