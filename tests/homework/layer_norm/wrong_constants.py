# scratchgpt homework: layer_norm
# mistake dx: mean:0 + variance:0
"""Mean and variance are taken for constants; the bias gradient is a mean."""
# mistake dbias: whole:1/N

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    xhat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return xhat * weight + bias, (x, weight, eps)


def layer_norm_backward(dout, cache):
    x, weight, eps = cache
    std = np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat = (x - x.mean(-1, keepdims=True)) / std
    dx = dout * weight / std
    return dx, (dout * xhat).sum((0, 1)), dout.mean((0, 1))
