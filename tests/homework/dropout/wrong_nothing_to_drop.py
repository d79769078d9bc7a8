# scratchgpt homework: dropout
# mistake dbranch: order
# mistake ddropped: mask=none + scale=none
# mistake out_p0: branch:0
"""The case p = 0 is cut short too early, and the way back forgets the mask."""

import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size).reshape(x.shape)  # noqa: F821  given
    return np.where(draws >= int(p * 2**32), x, 0) / (1 - p), None


def dropout_backward(dout, cache):
    return dout.copy()


def residual_dropout_forward(x, branch, p, key, start=0):
    if p == 0:
        return x.copy(), None
    out, cache = dropout_forward(branch, p, key, start)
    return x + out, cache


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
