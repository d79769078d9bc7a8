# scratchgpt homework: dropout
# mistake dropped: scale=times
# mistake ddropped: scale=times
# mistake out: scale=times
# mistake dbranch: scale=times
import numpy as np


class Mask:
    def __init__(self, shape, p, key, start):
        draws = counter_hash(np, key, start, int(np.prod(shape)))  # noqa: F821  given
        self.keep = draws.reshape(shape) >= int(p * 2**32)
        self.scale = 1 - p

    def apply(self, a):
        return a * self.keep * self.scale


def dropout_forward(x, p, key, start=0):
    mask = Mask(x.shape, p, key, start)
    return mask.apply(x), mask


def dropout_backward(dout, mask):
    return mask.apply(dout)


def residual_dropout_forward(x, branch, p, key, start=0):
    mask = Mask(x.shape, p, key, start)
    return x + mask.apply(branch), mask


def residual_dropout_backward(dout, mask):
    return dout.copy(), mask.apply(dout)
