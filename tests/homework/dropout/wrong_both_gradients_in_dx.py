# scratchgpt homework: dropout
# mistake dropped: scale=twice
# mistake out: scale=twice
# mistake dx: past=both
import numpy as np


def dropout_forward(x, p, key, start=0):
    scale = 1 / (1 - p)
    mask = scale * (counter_hash(np, key, start, x.size) >= int(p * 2**32)).reshape(x.shape)  # noqa: F821  given
    return scale * mask * x, mask


def dropout_backward(dout, mask):
    return dout * mask


def residual_dropout_forward(x, branch, p, key, start=0):
    out, mask = dropout_forward(branch, p, key, start)
    return out + x, mask


def residual_dropout_backward(dout, mask):
    dbranch = dropout_backward(dout, mask)
    return dout + dbranch, dbranch
