# scratchgpt homework: rms_norm
# mistake out: centre=both
# mistake dx: centre=both + mean:-1
# mistake dweight: centre=both
"""Layer norm's code under another name, without the bias."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    xhat = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((xhat * xhat).mean(-1, keepdims=True) + eps)
    xhat *= rstd
    return xhat * weight, (xhat, rstd, weight)


def rms_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    rows = tuple(range(dout.ndim - 1))
    dweight = (dout * xhat).sum(rows)
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, dweight
