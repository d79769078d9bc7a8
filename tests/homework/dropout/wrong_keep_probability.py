# scratchgpt homework: dropout
# mistake dropped: mask=1-p + scale=p
# mistake ddropped: mask=1-p + scale=p
# mistake out: mask=1-p + scale=p
# mistake dbranch: mask=1-p + scale=p
# mistake out_p0: nan
"""p is taken as the probability of keeping, as some libraries do."""

import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size).reshape(x.shape)  # noqa: F821  given
    keep = draws >= int((1 - p) * 2**32)
    return np.divide(x * keep, p), (keep, p)


def dropout_backward(dout, cache):
    keep, p = cache
    return np.divide(dout * keep, p)


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, cache = dropout_forward(branch, p, key, start)
    return x + dropped, cache


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
