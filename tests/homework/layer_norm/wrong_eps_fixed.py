# scratchgpt homework: layer_norm
# mistake out: std=1e-5
# mistake dx: std=1e-5
# mistake dweight: std=1e-5
"""eps is a global constant; the argument is not looked at."""

import numpy as np

EPS = 1e-5


def layer_norm_forward(x, weight, bias, eps=1e-5):
    var = x.var(-1, keepdims=True)
    xhat = (x - x.mean(-1, keepdims=True)) / np.sqrt(var + EPS)
    return xhat * weight + bias, (xhat, var, weight)


def layer_norm_backward(dout, cache):
    xhat, var, weight = cache
    inner = weight * dout
    inner = inner - inner.mean(-1, keepdims=True) - xhat * (inner * xhat).mean(-1, keepdims=True)
    return inner / np.sqrt(var + EPS), np.einsum("ijk,ijk->k", dout, xhat), dout.sum(0).sum(0)
