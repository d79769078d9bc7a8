# scratchgpt homework: rms_norm/gemma
# mistake out: gain=weight
# mistake dx: gain=weight
"""The library's RMSNorm under another name."""

import numpy as np


def gemma_norm_forward(x, weight, eps=1e-6):
    rstd = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    xhat = x * rstd
    return xhat * weight, (xhat, rstd, weight)


def gemma_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    dweight = (dout * xhat).sum(tuple(range(dout.ndim - 1)))
    dxhat = dout * weight
    dx = dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, dweight
