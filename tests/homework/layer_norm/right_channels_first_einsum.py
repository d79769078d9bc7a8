# scratchgpt homework: layer_norm/channels_first
"""Each position's channels through one matrix of derivatives."""

import numpy as np


def channels_first_forward(x, weight, bias, eps=1e-5):
    C = len(weight)
    centre = np.eye(C) - 1 / C
    centred = np.einsum("cd,bdt->bct", centre, x)
    inverse = (np.einsum("bct,bct->bt", centred, centred) / C + eps) ** -0.5
    xhat = np.einsum("bct,bt->bct", centred, inverse)
    return np.einsum("bct,c->bct", xhat, weight) + bias.reshape(1, C, 1), (centre, xhat, inverse, weight)


def channels_first_backward(dout, cache):
    centre, xhat, inverse, weight = cache
    along = np.einsum("bct,c,bct->bt", dout, weight, xhat) / len(weight)
    direct = np.einsum("cd,bdt,d->bct", centre, dout, weight)
    dx = np.einsum("bt,bct->bct", inverse, direct - np.einsum("bct,bt->bct", xhat, along))
    return dx, np.einsum("bct,bct->c", dout, xhat), np.einsum("bct->c", dout)
