# scratchgpt homework: layer_norm
# mistake dx: dout:1
# mistake dweight: weight=1
# mistake dbias: weight=1
"""The block's residual is added here, and dout * weight is used for the parameters too."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    xhat = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((xhat * xhat).mean(-1, keepdims=True) + eps)
    xhat *= rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    d = dout * weight
    dx = (d - d.mean(-1, keepdims=True) - xhat * (d * xhat).mean(-1, keepdims=True)) * rstd
    return dout + dx, (d * xhat).sum((0, 1)), d.sum((0, 1))
