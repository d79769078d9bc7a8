# scratchgpt homework: layer_norm
"""Row by row, with the whole Jacobian d xhat / d x of a row: (I - 1/C - xhat xhat^T / C) / std."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    out, xhats, stds = np.zeros_like(x), np.zeros_like(x), np.zeros(x.shape[:-1])
    for row in np.ndindex(x.shape[:-1]):
        stds[row] = (x[row].var() + eps) ** 0.5
        xhats[row] = (x[row] - x[row].mean()) / stds[row]
        out[row] = xhats[row] * weight + bias
    return out, (xhats, stds, weight)


def layer_norm_backward(dout, cache):
    xhats, stds, weight = cache
    C = len(weight)
    dx, dweight, dbias = np.zeros_like(dout), np.zeros(C), np.zeros(C)
    for row in np.ndindex(dout.shape[:-1]):
        xhat = xhats[row]
        jacobian = (np.eye(C) - np.full((C, C), 1 / C) - np.outer(xhat, xhat) / C) / stds[row]
        dx[row] = jacobian @ (weight * dout[row])
        dweight += dout[row] * xhat
        dbias += dout[row]
    return dx, dweight, dbias
