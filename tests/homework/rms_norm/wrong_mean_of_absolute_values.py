# scratchgpt homework: rms_norm
# mistake out: root=absolute
# mistake dx: factor=no mean + root=absolute
# mistake dweight: rows=last sequence + root=absolute
"""The root of each square, then the mean; nothing is summed on the way back as it should be."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    size = np.sqrt(x**2).mean(axis=-1, keepdims=True) + eps
    return x / size * weight, (x / size, size, weight)


def rms_norm_backward(dout, cache):
    xhat, size, weight = cache
    dxhat = weight * dout
    dx = (dxhat - xhat * dxhat * xhat) / size
    for sequence, d in zip(xhat, dout):
        dweight = (sequence * d).sum(0)
    return dx, dweight
