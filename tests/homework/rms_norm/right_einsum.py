# scratchgpt homework: rms_norm
import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    scale = (np.einsum("btc,btc->bt", x, x) / x.shape[2] + eps) ** -0.5
    xhat = np.einsum("btc,bt->btc", x, scale)
    return xhat * weight, (xhat, scale, weight)


def rms_norm_backward(dout, cache):
    xhat, scale, weight = cache
    along = np.einsum("btc,c,btc->bt", dout, weight, xhat) / len(weight)
    dx = np.einsum("btc,c,bt->btc", dout, weight, scale) - np.einsum("btc,bt,bt->btc", xhat, along, scale)
    return dx, np.einsum("btc,btc->c", dout, xhat)
