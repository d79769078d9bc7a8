# scratchgpt homework: cross_entropy
# mistake dx: one-hot:0
# mistake dweight: whole:-1
"""dx is made before the 1 is subtracted; dweight has its sign turned."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    z = z - z.max(1)[:, None]
    p = np.exp(z) / np.exp(z).sum(1)[:, None]
    t = np.where(token_weights > 0, targets, 0)
    return -(np.log(p[np.arange(len(t)), t]) * token_weights).sum(), (x, weight, t, token_weights, p)


def cross_entropy_backward(dloss, cache):
    x, weight, t, token_weights, p = cache
    scale = (dloss * token_weights)[:, None]
    dx = (scale * p) @ weight
    onehot = np.eye(p.shape[1])[t]
    dweight = (scale * (onehot - p)).T @ x
    return dx, dweight
