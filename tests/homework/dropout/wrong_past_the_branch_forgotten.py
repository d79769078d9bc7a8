# scratchgpt homework: dropout
# mistake out: x:0
# mistake dx: zero
# mistake out_p0: x:0
import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size)  # noqa: F821  given
    keep = np.array([draw >= int(p * 2**32) for draw in draws]).reshape(x.shape)
    return x * keep / (1 - p), (keep, p)


def dropout_backward(dout, cache):
    keep, p = cache
    return dout * keep / (1 - p)


def residual_dropout_forward(x, branch, p, key, start=0):
    return dropout_forward(branch, p, key, start)


def residual_dropout_backward(dout, cache):
    return np.zeros_like(dout), dropout_backward(dout, cache)
