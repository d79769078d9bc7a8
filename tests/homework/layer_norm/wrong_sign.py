# scratchgpt homework: layer_norm
# mistake dx: variance:-1
# mistake dbias: rows=last sequence
"""d(1/std) without its minus, and a dbias that is assigned in the loop."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    mean = np.mean(x, -1)[..., None]
    rstd = (np.var(x, -1) + eps)[..., None] ** -0.5
    return (x - mean) * rstd * weight + bias, (x, mean, rstd, weight)


def layer_norm_backward(dout, cache):
    x, mean, rstd, weight = cache
    dx, dweight = np.empty_like(x), np.zeros_like(weight)
    for b in range(len(x)):
        centred = x[b] - mean[b]
        dxhat = dout[b] * weight
        drstd = (dxhat * centred).sum(1, keepdims=True)
        dvar = 0.5 * drstd * rstd[b] ** 3
        dcentred = dxhat * rstd[b] + dvar * 2 * centred / len(weight)
        dx[b] = dcentred - dcentred.mean(1, keepdims=True)
        dweight += (dout[b] * centred * rstd[b]).sum(0)
        dbias = dout[b].sum(0)
    return dx, dweight, dbias
