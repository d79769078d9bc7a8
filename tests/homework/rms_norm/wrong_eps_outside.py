# scratchgpt homework: rms_norm
# mistake out: root=outside
# mistake dx: root=outside
# mistake dweight: root=outside
"""eps is added to the root, on both ways."""

import numpy as np


def rms(x, eps):
    return np.sqrt((x * x).mean(-1, keepdims=True)) + eps


def rms_norm_forward(x, weight, eps=1e-6):
    r = rms(x, eps)
    return x / r * weight, (x, weight, eps)


def rms_norm_backward(dout, cache):
    x, weight, eps = cache
    r = rms(x, eps)
    xhat = x / r
    dxhat = dout * weight
    return (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / r, (dout * xhat).sum(axis=(0, 1))
