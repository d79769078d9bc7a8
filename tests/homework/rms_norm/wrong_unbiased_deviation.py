# scratchgpt homework: rms_norm
# mistake out: centre=square + root=ddof
# mistake dx: square:0 + centre=square + root=ddof | square:0 + centre=both + root=ddof
# mistake dweight: centre=square + root=ddof
"""The unbiased standard deviation, taken for a constant."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    std = np.sqrt(np.var(x, axis=-1, ddof=1, keepdims=True) + eps)
    return x / std * weight, (x, std, weight)


def rms_norm_backward(dout, cache):
    x, std, weight = cache
    dx = dout * weight / std
    dweight = np.zeros_like(weight)
    for row, d, s in zip(x.reshape(-1, x.shape[-1]), dout.reshape(-1, x.shape[-1]), std.ravel()):
        dweight += d * row / s
    return dx, dweight
