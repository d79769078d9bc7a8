# scratchgpt homework: layer_norm
# mistake dx: factor=x + weight=2
# mistake dweight: factor=x
"""x stands where xhat belongs, and gamma is multiplied in twice."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu, std = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + eps)
    return (x - mu) / std * weight + bias, (x, mu, std, weight)


def layer_norm_backward(dout, cache):
    x, mu, std, weight = cache
    dy = dout * weight
    dxhat = dy * weight
    dx = (dxhat - dxhat.mean(-1, keepdims=True) - x * (dxhat * (x - mu) / std).mean(-1, keepdims=True)) / std
    dweight = (dout * x).sum(axis=tuple(range(x.ndim - 1)))
    return dx, dweight, dout.sum(axis=tuple(range(x.ndim - 1)))
