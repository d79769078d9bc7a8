# scratchgpt homework: dropout
# mistake dropped: mask=swapped
# mistake ddropped: mask=swapped
# mistake out: mask=swapped
# mistake dbranch: mask=swapped
# mistake out_p0: branch:0
import numpy as np


def dropout_forward(x, p, key, start=0):
    mask = counter_hash(np, key, start, x.size) < p * 2**32  # noqa: F821  given
    mask = mask.reshape(x.shape) / (1 - p)
    return x * mask, mask


def dropout_backward(dout, mask):
    return dout * mask


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, mask = dropout_forward(branch, p, key, start)
    return x + dropped, mask


def residual_dropout_backward(dout, mask):
    return dout.copy(), dout * mask
