# scratchgpt homework: layer_norm
# mistake dx: weight=0
# mistake dweight: shape
"""dy goes back past gamma unchanged, and dgamma keeps its rows."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = x.mean(axis=-1, keepdims=True)
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return weight * ((x - mu) / std) + bias, {"xhat": (x - mu) / std, "std": std}


def layer_norm_backward(dy, cache):
    xhat, std = cache["xhat"], cache["std"]
    dx = (dy - dy.mean(-1, keepdims=True) - xhat * (dy * xhat).mean(-1, keepdims=True)) / std
    dgamma = dy * xhat
    dbeta = dy.sum(axis=1).sum(axis=0)
    return dx, dgamma, dbeta
