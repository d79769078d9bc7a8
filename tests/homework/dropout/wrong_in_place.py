# scratchgpt homework: dropout
# mistake *: overwrites
import numpy as np


def dropout_forward(x, p, key, start=0):
    dropped = counter_hash(np, key, start, x.size).reshape(x.shape) < int(p * 2**32)  # noqa: F821  given
    x[dropped] = 0
    return x / (1 - p), (dropped, p)


def dropout_backward(dout, cache):
    dropped, p = cache
    return np.where(dropped, 0, dout) / (1 - p)


def residual_dropout_forward(x, branch, p, key, start=0):
    out, cache = dropout_forward(branch, p, key, start)
    return x + out, cache


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
