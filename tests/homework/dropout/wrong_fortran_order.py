# scratchgpt homework: dropout
# mistake dropped: unknown
# mistake ddropped: unknown
# mistake out: unknown
# mistake dbranch: unknown
"""The draws are dealt out with the first axis varying fastest."""

import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size).reshape(x.shape, order="F")  # noqa: F821  given
    mask = (draws >= int(p * 2**32)) / (1 - p)
    return x * mask, mask


def dropout_backward(dout, mask):
    return dout * mask


def residual_dropout_forward(x, branch, p, key, start=0):
    out, mask = dropout_forward(branch, p, key, start)
    return x + out, mask


def residual_dropout_backward(dout, mask):
    return dout.copy(), dropout_backward(dout, mask)
