# scratchgpt homework: layer_norm
# mistake out: std=none
# mistake dx: factor=no mean + std=none
# mistake dweight: std=none
"""eps is left out, and the mean of dxhat * xhat is forgotten."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    xhat = (x - x.mean(axis=2, keepdims=True)) / x.std(axis=2, keepdims=True)
    return xhat * weight + bias, (xhat, x.std(axis=2, keepdims=True), weight)


def layer_norm_backward(dout, cache):
    xhat, std, weight = cache
    dxhat = dout * weight
    dx = (dxhat - dxhat.mean(axis=2, keepdims=True) - xhat * (dxhat * xhat)) / std
    return dx, np.einsum("btc,btc->c", dout, xhat), np.einsum("btc->c", dout)
