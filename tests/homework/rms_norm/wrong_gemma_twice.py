# scratchgpt homework: rms_norm/gemma
# mistake dx: gain=twice + square:C
"""1 + weight is applied to dout, and then again; a sum for the mean."""

import numpy as np


def gemma_norm_forward(x, weight, eps=1e-6):
    gain = np.ones_like(weight) + weight
    rms = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps)
    return x / rms * gain, (x / rms, rms, gain)


def gemma_norm_backward(dout, cache):
    xhat, rms, gain = cache
    dweight = np.sum(dout * xhat, axis=(0, 1))
    dout = dout * gain
    dxhat = dout * gain
    dx = (dxhat - xhat * np.sum(dxhat * xhat, axis=-1, keepdims=True)) / rms
    return dx, dweight
