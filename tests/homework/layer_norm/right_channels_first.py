# scratchgpt homework: layer_norm/channels_first
import numpy as np


def channels_first_forward(x, weight, bias, eps=1e-5):
    mean = x.mean(axis=1, keepdims=True)
    std = np.sqrt(x.var(axis=1, keepdims=True) + eps)
    xhat = (x - mean) / std
    return weight[:, None] * xhat + bias[:, None], (xhat, std, weight)


def channels_first_backward(dout, cache):
    xhat, std, weight = cache
    d = dout * weight[:, None]
    dx = (d - d.mean(1, keepdims=True) - xhat * (d * xhat).mean(1, keepdims=True)) / std
    return dx, (dout * xhat).sum((0, 2)), dout.sum((0, 2))
