# scratchgpt homework: rms_norm
# mistake out: root=sum
# mistake dx: square:C + root=sum
# mistake dweight: root=sum
"""Divided by the length of the row; the gradient is that of a row of length 1."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    length = np.sqrt(np.sum(x**2, axis=-1, keepdims=True) + eps)
    return x / length * weight, (x / length, length, weight)


def rms_norm_backward(dout, cache):
    unit, length, weight = cache
    d = dout * weight
    return (d - unit * (unit * d).sum(-1, keepdims=True)) / length, (dout * unit).sum((0, 1))
