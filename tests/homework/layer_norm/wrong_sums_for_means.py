# scratchgpt homework: layer_norm
# mistake dx: mean:C + variance:C
"""Loops over the rows, with sums that are never divided by C."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    xhat = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((xhat**2).mean(-1, keepdims=True) + eps)
    xhat = xhat * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    a, b = np.zeros_like(dxhat), np.zeros_like(dxhat)
    for i in range(dout.shape[0]):
        for j in range(dout.shape[1]):
            a[i, j] = np.sum(dxhat[i, j])
            b[i, j] = xhat[i, j] * np.dot(dxhat[i, j], xhat[i, j])
    return (dxhat - a - b) * rstd, (dout * xhat).sum((0, 1)), dout.sum((0, 1))
