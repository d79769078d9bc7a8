# scratchgpt homework: dropout
"""A factor per element, 0 or 1 / (1 - p), is all there is to remember."""

import numpy as np


def factor(shape, p, key, start):
    n = int(np.prod(shape))
    draws = counter_hash(np, key, start, n).reshape(shape)  # noqa: F821  given
    return np.where(draws < int(p * 2**32), 0.0, 1 / (1 - p))


def dropout_forward(x, p, key, start=0):
    f = factor(x.shape, p, key, start)
    return f * x, f


def dropout_backward(dout, cache):
    return cache * dout


def residual_dropout_forward(x, branch, p, key, start=0):
    f = factor(branch.shape, p, key, start)
    out = f * branch
    out += x
    return out, (f,)


def residual_dropout_backward(dout, cache):
    (f,) = cache
    return dout.copy(), f * dout
