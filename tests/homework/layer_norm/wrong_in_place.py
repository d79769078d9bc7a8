# scratchgpt homework: layer_norm
# mistake *: overwrites
"""All numbers are right, and dout is gone."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    out = x - x.mean(-1, keepdims=True)
    std = np.sqrt((out * out).mean(-1, keepdims=True) + eps)
    out /= std
    xhat = out.copy()
    out *= weight
    out += bias
    return out, (xhat, std, weight)


def layer_norm_backward(dout, cache):
    xhat, std, weight = cache
    dbias = dout.sum((0, 1))
    dweight = (dout * xhat).sum((0, 1))
    dout *= weight
    dx = (dout - dout.mean(-1, keepdims=True) - xhat * (dout * xhat).mean(-1, keepdims=True)) / std
    return dx, dweight, dbias
