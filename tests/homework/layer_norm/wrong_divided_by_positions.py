# scratchgpt homework: layer_norm
# mistake dx: mean:C/T + variance:C/T
"""`N, D = x.shape` became `N, D = x.shape[:2]`."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mu = np.average(x, axis=-1)[:, :, np.newaxis]
    sigma = np.sqrt(np.average((x - mu) ** 2, axis=-1) + eps)[:, :, np.newaxis]
    return weight * (x - mu) / sigma + bias, ((x - mu) / sigma, sigma, weight)


def layer_norm_backward(dout, cache):
    xhat, sigma, weight = cache
    _, D = dout.shape[:2]
    g = dout * weight
    dx = g - g.sum(-1, keepdims=True) / D - xhat * (g * xhat).sum(-1, keepdims=True) / D
    dweight, dbias = 0, 0
    for d, n in zip(dout, xhat):
        dweight = dweight + (d * n).sum(0)
        dbias = dbias + d.sum(0)
    return dx / sigma, dweight, dbias
