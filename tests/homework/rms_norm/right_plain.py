# scratchgpt homework: rms_norm
import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rms = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps)
    return x / rms * weight, (x, weight, rms)


def rms_norm_backward(dout, cache):
    x, weight, rms = cache
    d = dout * weight
    dx = d / rms - x * (d * x).mean(-1, keepdims=True) / rms**3
    return dx, (dout * x / rms).sum((0, 1))
