# scratchgpt homework: dropout
# mistake dropped: scale=p
# mistake ddropped: scale=p
# mistake out: scale=p
# mistake dbranch: scale=p
# mistake out_p0: raises
import numpy as np


def dropout_forward(x, p, key, start=0):
    threshold = int(p * 2**32)
    keep = counter_hash(np, key, start, x.size).reshape(x.shape) >= threshold  # noqa: F821  given
    scale = 1 / p
    return keep * x * scale, (keep, scale)


def dropout_backward(dout, cache):
    keep, scale = cache
    return keep * dout * scale


def residual_dropout_forward(x, branch, p, key, start=0):
    branch, cache = dropout_forward(branch, p, key, start)
    return branch + x, cache


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
