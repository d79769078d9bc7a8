# scratchgpt homework: rms_norm
# mistake out: centre=square
# mistake dx: centre=square
# mistake dweight: centre=square
"""x.var() squares what is left after the mean is subtracted."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    scale = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return weight * x * scale, (x * scale, scale, weight)


def rms_norm_backward(dout, cache):
    xhat, scale, weight = cache
    dxhat = dout * weight
    dx = dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx * scale, (dout * xhat).sum((0, 1))
