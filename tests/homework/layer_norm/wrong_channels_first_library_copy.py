# scratchgpt homework: layer_norm/channels_first
# mistake out: raises
# mistake dx: raises
# mistake dweight: raises
# mistake dbias: raises
"""The library's layer norm under another name: weight does not fit the last axis."""

import numpy as np


def channels_first_forward(x, weight, bias, eps=1e-5):
    xhat = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((xhat * xhat).mean(-1, keepdims=True) + eps)
    xhat *= rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def channels_first_backward(dout, cache):
    xhat, rstd, weight = cache
    rows = tuple(range(dout.ndim - 1))
    dweight, dbias = (dout * xhat).sum(rows), dout.sum(rows)
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, dweight, dbias
