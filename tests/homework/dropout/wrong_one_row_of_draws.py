# scratchgpt homework: dropout
# mistake dropped: mask=features
# mistake ddropped: mask=features
# mistake out: mask=features
# mistake dbranch: mask=features
import numpy as np


def dropout_forward(x, p, key, start=0):
    keep = counter_hash(np, key, start, x.shape[-1]) >= int(p * 2**32)  # noqa: F821  given
    mask = keep / (1 - p)
    return x * mask, mask


def dropout_backward(dout, mask):
    return dout * mask


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, mask = dropout_forward(branch, p, key, start)
    return x + dropped, mask


def residual_dropout_backward(dout, mask):
    return dout.copy(), dropout_backward(dout, mask)
