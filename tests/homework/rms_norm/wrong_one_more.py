# scratchgpt homework: rms_norm
# mistake out: gain=one more
# mistake dx: gain=one more
# mistake dweight: shape
"""Gemma's factor, and a gradient for each position."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rrms = 1 / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x * rrms * (1 + weight), (x * rrms, rrms, 1 + weight)


def rms_norm_backward(dout, cache):
    xhat, rrms, gain = cache
    dxhat = dout * gain
    dx = rrms * (dxhat - xhat * np.mean(dxhat * xhat, axis=-1, keepdims=True))
    return dx, np.sum(dout * xhat, axis=0)
