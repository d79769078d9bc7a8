# scratchgpt homework: dropout
"""The mask is drawn again on the way back; the cache holds no array."""

import numpy as np


def zeros_at(n, p, key, start):
    return np.flatnonzero(counter_hash(np, key, start, n) < int(p * 2**32))  # noqa: F821  given


def dropout_forward(x, p, key, start=0):
    out = x.reshape(-1) / (1 - p)
    out[zeros_at(x.size, p, key, start)] = 0
    return out.reshape(x.shape), (p, key, start)


def dropout_backward(dout, cache):
    return dropout_forward(dout, *cache)[0]


def residual_dropout_forward(x, branch, p, key, start=0):
    out, cache = dropout_forward(branch, p, key, start)
    return np.add(out, x), cache


def residual_dropout_backward(dout, cache):
    return np.array(dout), dropout_backward(dout, cache)
