# scratchgpt homework: dropout
# mistake dropped: scale=none
# mistake ddropped: scale=none
# mistake out: scale=none
# mistake dbranch: scale=none
"""Dropout as in the first papers, where the scaling is left to the test."""

import numpy as np


def dropout_forward(x, p, key, start=0):
    keep = counter_hash(np, key, start, x.size).reshape(x.shape) >= int(p * 2**32)  # noqa: F821  given
    return x * keep, keep


def dropout_backward(dout, cache):
    return dout * cache


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, keep = dropout_forward(branch, p, key, start)
    return x + dropped, keep


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
