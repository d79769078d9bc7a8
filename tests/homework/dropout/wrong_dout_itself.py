# scratchgpt homework: dropout
# mistake *: view
import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size).reshape(x.shape)  # noqa: F821  given
    keep, scale = draws >= int(p * 2**32), 1 / (1 - p)
    return x * keep * scale, (keep, scale)


def dropout_backward(dout, cache):
    keep, scale = cache
    return dout * keep * scale


def residual_dropout_forward(x, branch, p, key, start=0):
    out, cache = dropout_forward(branch, p, key, start)
    return x + out, cache


def residual_dropout_backward(dout, cache):
    return dout, dropout_backward(dout, cache)
