# scratchgpt homework: dropout
# mistake ddropped: scale=none
# mistake dbranch: scale=none
import numpy as np


def dropout_forward(x, p, key, start=0):
    draws = counter_hash(np, key, start, x.size)  # noqa: F821  given
    keep = (draws >= int(p * 2**32)).reshape(x.shape)
    out = np.zeros_like(x)
    out[keep] = x[keep] / (1 - p)
    return out, keep


def dropout_backward(dout, keep):
    dx = np.zeros_like(dout)
    dx[keep] = dout[keep]
    return dx


def residual_dropout_forward(x, branch, p, key, start=0):
    out, keep = dropout_forward(branch, p, key, start)
    out += x
    return out, keep


def residual_dropout_backward(dout, keep):
    return dout.copy(), dropout_backward(dout, keep)
