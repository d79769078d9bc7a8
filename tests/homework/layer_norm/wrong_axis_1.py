# scratchgpt homework: layer_norm
# mistake out: statistics=positions
# mistake dx: means=positions + statistics=positions
# mistake dweight: shape
# mistake dbias: shape
"""Written for x (N, D), where the features are axis 1 and the rows axis 0."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = x.mean(axis=1, keepdims=True)
    std = np.sqrt(x.var(axis=1, keepdims=True) + eps)
    xhat = (x - mu) / std
    return xhat * weight + bias, (xhat, std, weight)


def layer_norm_backward(dout, cache):
    xhat, std, weight = cache
    d = dout * weight
    dx = (d - d.mean(axis=1, keepdims=True) - xhat * (d * xhat).mean(axis=1, keepdims=True)) / std
    return dx, np.sum(dout * xhat, axis=0), np.sum(dout, axis=0)
