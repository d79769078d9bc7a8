# scratchgpt homework: layer_norm
# mistake dx: unknown
"""The mean term is made of dout, the other two of dout * weight."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    std = np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat = (x - x.mean(-1, keepdims=True)) / std
    return xhat * weight + bias, (xhat, std, weight)


def layer_norm_backward(dout, cache):
    xhat, std, weight = cache
    dxhat = dout * weight
    dx = (dxhat - dout.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / std
    return dx, (dout * xhat).sum((0, 1)), dout.sum((0, 1))
