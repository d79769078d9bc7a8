# scratchgpt homework: layer_norm
"""Every node of the graph has its own line, as in CS231n."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    mean = x.sum(-1, keepdims=True) / C
    centred = x - mean
    var = (centred**2).sum(-1, keepdims=True) / C
    std = np.sqrt(var + eps)
    xhat = centred / std
    return weight * xhat + bias, (centred, std, weight)


def layer_norm_backward(dout, cache):
    centred, std, weight = cache
    C = dout.shape[-1]
    xhat = centred / std
    dbias = np.einsum("btc->c", dout)
    dweight = np.einsum("btc,btc->c", dout, xhat)
    dxhat = dout * weight
    dstd = (-dxhat * centred / std**2).sum(-1, keepdims=True)
    dvar = dstd / (2 * std)
    dcentred = dxhat / std + 2 * centred * dvar / C
    dmean = -dcentred.sum(-1, keepdims=True)
    return dcentred + dmean / C, dweight, dbias
