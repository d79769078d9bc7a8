# scratchgpt homework: rms_norm/gemma
# mistake dx: gain=weight
# mistake dweight: factor=x + gain=weight
"""The 1 is there on the way forward alone; dweight has weight in it and x for xhat."""

import numpy as np


def gemma_norm_forward(x, weight, eps=1e-6):
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x / rms * (1 + weight), (x, rms, weight)


def gemma_norm_backward(dout, cache):
    x, rms, weight = cache
    xhat, g = x / rms, dout * weight
    dx = (g - xhat * (g * xhat).mean(axis=-1, keepdims=True)) / rms
    return dx, (g * x).sum(axis=(0, 1))
