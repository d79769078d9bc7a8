# scratchgpt homework: layer_norm
# mistake out: statistics=all
# mistake dx: means=all + statistics=all
# mistake dweight: statistics=all
# mistake dbias: rows=first sequence
"""mean() and var() without an axis; dbias of the first sequence alone."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu, std = x.mean(), np.sqrt(x.var() + eps)
    xhat = (x - mu) / std
    return xhat * weight + bias, (xhat, std, weight)


def layer_norm_backward(dout, cache):
    xhat, std, weight = cache
    g = dout * weight
    dx = (g - g.mean() - xhat * (g * xhat).mean()) / std
    return dx, (dout * xhat).sum((0, 1)), dout[0].sum(0)
