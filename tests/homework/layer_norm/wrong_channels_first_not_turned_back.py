# scratchgpt homework: layer_norm/channels_first
# mistake out: shape
# mistake dx: mean:0
# mistake dbias: whole:1/B
"""Turned and not turned back on the way forward; on the way back the mean's term is missing."""

import numpy as np


def channels_first_forward(x, weight, bias, eps=1e-5):
    rows = np.swapaxes(x, 1, 2)
    rstd = (rows.var(-1, keepdims=True) + eps) ** -0.5
    xhat = (rows - rows.mean(-1, keepdims=True)) * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def channels_first_backward(dout, cache):
    xhat, rstd, weight = cache
    dout = dout.swapaxes(1, 2)
    dxhat = dout * weight
    dx = rstd * (dxhat - xhat * np.mean(dxhat * xhat, -1, keepdims=True))
    return dx.swapaxes(1, 2).copy(), np.sum(dout * xhat, (0, 1)), dout.sum(1).mean(0)
