# scratchgpt homework: rms_norm
# mistake dx: factor=x
"""1/rms to the second power in the square term: rms**2 where rms**3 belongs."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    C = x.shape[-1]
    rms = np.sqrt((x**2).sum(-1, keepdims=True) / C + eps)
    return (x / rms) * weight, (x, weight, rms, C)


def rms_norm_backward(dout, cache):
    x, weight, rms, C = cache
    dw = ((x / rms) * dout).sum(axis=0).sum(axis=0)
    g = dout * weight
    dot = (g * x).sum(-1, keepdims=True)
    dx = g / rms - x * dot / (C * rms**2)
    return dx, dw
