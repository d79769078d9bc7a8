# scratchgpt homework: dropout
# mistake out: where=sum
# mistake dx: order
"""The residual path goes through dropout too."""

import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size).reshape(x.shape)  # noqa: F821  given
    mask = (draws >= int(p * 2**32)) / (1 - p)
    return mask * x, mask


def dropout_backward(dout, mask):
    return mask * dout


def residual_dropout_forward(x, branch, p, key, start=0):
    return dropout_forward(x + branch, p, key, start)


def residual_dropout_backward(dout, mask):
    dx = dropout_backward(dout, mask)
    return dx, dx.copy()
