# scratchgpt homework: layer_norm
# mistake out: centre=False
# mistake dx: centre=False
# mistake dweight: centre=False
"""RMSNorm on the way forward, layer norm on the way back."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    rstd = 1 / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x * rstd * weight + bias, (x * rstd, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx * rstd, (dout * xhat).sum((0, 1)), dout.sum((0, 1))
