# scratchgpt homework: rms_norm/gemma
import numpy as np


def gemma_norm_forward(x, weight, eps=1e-6):
    rms = np.sqrt(np.mean(x**2, -1, keepdims=True) + eps)
    xhat = x / rms
    return xhat + xhat * weight, (xhat, rms, weight)


def gemma_norm_backward(dout, cache):
    xhat, rms, weight = cache
    dxhat = dout + dout * weight
    dx = (dxhat - xhat * np.mean(xhat * dxhat, -1, keepdims=True)) / rms
    return dx, (dout * xhat).reshape(-1, len(weight)).sum(0)
