# scratchgpt homework: layer_norm/channels_first
# mistake out: statistics=positions
# mistake dx: statistics=positions + means=positions
# mistake dweight: statistics=positions
"""The last axis, as everywhere else; only weight and bias are turned."""

import numpy as np


def channels_first_forward(x, weight, bias, eps=1e-5):
    xhat = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((xhat * xhat).mean(-1, keepdims=True) + eps)
    xhat *= rstd
    return xhat * weight[:, None] + bias[:, None], (xhat, rstd, weight[:, None])


def channels_first_backward(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx * rstd, (dout * xhat).sum((0, 2)), dout.sum((0, 2))
