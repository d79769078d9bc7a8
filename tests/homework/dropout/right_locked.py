# scratchgpt homework: dropout/locked
import numpy as np


def locked_dropout_forward(x, branch, p, key, start=0):
    B, T, C = x.shape
    keep = counter_hash(np, key, start, B * C).reshape(B, 1, C) >= int(p * 2**32)  # noqa: F821  given
    return x + branch * keep / (1 - p), (keep, p)


def locked_dropout_backward(dout, cache):
    keep, p = cache
    return dout.copy(), dout * keep / (1 - p)
