# scratchgpt homework: layer_norm
# mistake dx: power=0
# mistake dweight: factor=x - mean
"""The division by the standard deviation is forgotten in both gradients that need it."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    std = np.sqrt(np.mean(centred * centred, -1, keepdims=True) + eps)
    return centred / std * weight + bias, (centred, std, weight)


def layer_norm_backward(dout, cache):
    centred, std, weight = cache
    xhat = centred / std
    dxhat = dout * weight
    dx = dxhat
    dx = dx - dxhat.mean(-1, keepdims=True)
    dx = dx - xhat * np.mean(dxhat * xhat, -1, keepdims=True)
    return dx, np.einsum("btc,btc->c", dout, centred), np.einsum("btc->c", dout)
