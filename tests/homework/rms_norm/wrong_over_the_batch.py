# scratchgpt homework: rms_norm
# mistake out: over=rows
# mistake dx: over=rows + means=rows
# mistake dweight: over=rows
"""The axes of batch norm."""

import numpy as np

AXES = (0, 1)


def rms_norm_forward(x, weight, eps=1e-6):
    rrms = 1 / np.sqrt(np.mean(x * x, AXES) + eps)
    return x * rrms * weight, (x * rrms, rrms, weight)


def rms_norm_backward(dout, cache):
    xhat, rrms, weight = cache
    dxhat = dout * weight
    dx = rrms * (dxhat - xhat * np.mean(dxhat * xhat, AXES))
    return dx, np.sum(dout * xhat, AXES)
