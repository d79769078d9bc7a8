# scratchgpt homework: rms_norm
# mistake dx: means=all
"""One mean for the whole array on the way back."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rrms = (np.mean(x**2, axis=-1, keepdims=True) + eps) ** -0.5
    return x * rrms * weight, (x, rrms, weight)


def rms_norm_backward(dout, cache):
    x, rrms, weight = cache
    xhat = x * rrms
    dxhat = dout * weight
    dx = rrms * (dxhat - xhat * np.mean(dxhat * xhat))
    return dx, np.sum(dout * xhat, axis=(0, 1))
