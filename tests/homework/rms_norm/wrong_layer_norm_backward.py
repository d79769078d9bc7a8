# scratchgpt homework: rms_norm
# mistake dx: mean:-1
"""The way back is that of layer norm."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rstd = 1 / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x * rstd * weight, (x * rstd, rstd, weight)


def rms_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    C = dout.shape[-1]
    dx = (rstd / C) * (C * dxhat - dxhat.sum(-1, keepdims=True) - xhat * (dxhat * xhat).sum(-1, keepdims=True))
    return dx, (dout * xhat).sum(axis=(0, 1))
