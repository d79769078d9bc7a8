# scratchgpt homework: dropout
# mistake ddropped: mask=next
# mistake dbranch: mask=next
"""A generator that moves on: the way back draws the numbers that come next."""

import numpy as np


class Generator:
    def __init__(self, key, start):
        self.key, self.at = key, start

    def keep(self, shape, p):
        n = int(np.prod(shape))
        draws = counter_hash(np, self.key, self.at, n)  # noqa: F821  given
        self.at += n
        return (draws >= int(p * 2**32)).reshape(shape)


def dropout_forward(x, p, key, start=0):
    generator = Generator(key, start)
    return x * generator.keep(x.shape, p) / (1 - p), (generator, p)


def dropout_backward(dout, cache):
    generator, p = cache
    again = Generator(generator.key, generator.at)
    return dout * again.keep(dout.shape, p) / (1 - p)


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, cache = dropout_forward(branch, p, key, start)
    return x + dropped, cache


def residual_dropout_backward(dout, cache):
    return dout.copy(), dropout_backward(dout, cache)
