# scratchgpt homework: dropout
# mistake dropped: mask=start
# mistake ddropped: mask=start
# mistake out: mask=start
# mistake dbranch: mask=start
import numpy as np


def dropout_forward(x, p, key, start=0):
    keep = counter_hash(np, key, 0, x.size) >= int(p * 2**32)  # noqa: F821  given
    keep = keep.reshape(x.shape)
    return np.where(keep, x / (1 - p), 0.0), (keep, 1 / (1 - p))


def dropout_backward(dout, cache):
    keep, scale = cache
    return np.where(keep, dout * scale, 0.0)


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, cache = dropout_forward(branch, p, key, start)
    return x + dropped, cache


def residual_dropout_backward(dout, cache):
    return dout + 0, dropout_backward(dout, cache)
