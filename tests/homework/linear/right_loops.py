# scratchgpt homework: linear
"""One row at a time, as on paper."""

import numpy as np


def linear_forward(x, weight, bias=None):
    B, T, _ = x.shape
    O = weight.shape[0]  # noqa: E741
    out = np.zeros((B, T, O), dtype=x.dtype)
    for b in range(B):
        for t in range(T):
            for o in range(O):
                out[b, t, o] = (x[b, t] * weight[o]).sum() + (0 if bias is None else bias[o])
    return out, (x.copy(), weight.copy())


def linear_backward(dout, cache):
    x, weight = cache
    dx, dweight, dbias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(weight[:, 0])
    for b, t, o in np.ndindex(*dout.shape):
        g = dout[b, t, o]
        dx[b, t] += g * weight[o]
        dweight[o] += g * x[b, t]
        dbias[o] += g
    return dx, dweight, dbias
