# scratchgpt homework: rms_norm
# mistake dx: factor=dout
"""weight is in the direct term and not in the mean; loops."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    B, T, C = x.shape
    out, inverse = np.zeros((B, T, C)), np.zeros((B, T))
    for b in range(B):
        for t in range(T):
            inverse[b, t] = 1.0 / np.sqrt(np.dot(x[b, t], x[b, t]) / C + eps)
            out[b, t] = x[b, t] * inverse[b, t] * weight
    return out, (x, inverse, weight)


def rms_norm_backward(dout, cache):
    x, inverse, weight = cache
    B, T, C = x.shape
    dx, dweight = np.zeros((B, T, C)), np.zeros(C)
    for b in range(B):
        for t in range(T):
            n = x[b, t] * inverse[b, t]
            dweight += dout[b, t] * n
            dx[b, t] = inverse[b, t] * (dout[b, t] * weight - n * np.dot(dout[b, t], n) / C)
    return dx, dweight
