# scratchgpt homework: layer_norm
# mistake dx: factor=x - mean twice
"""The derivative of var ** -0.5 keeps its power: -0.5 var ** -0.5 where -0.5 var ** -1.5 belongs."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = x.mean(-1, keepdims=True)
    var = ((x - mu) ** 2).mean(-1, keepdims=True) + eps
    return (x - mu) * var**-0.5 * weight + bias, (x - mu, var, weight)


def layer_norm_backward(dout, cache):
    centred, var, weight = cache
    C = len(weight)
    dxhat = dout * weight
    dvar = -0.5 * var**-0.5 * (dxhat * centred).sum(-1, keepdims=True)
    dmu = -(dxhat * var**-0.5).sum(-1, keepdims=True)
    dx = dxhat * var**-0.5 + 2 * centred * dvar / C + dmu / C
    return dx, np.sum(dout * centred * var**-0.5, (0, 1)), dout.sum((0, 1))
