# scratchgpt homework: dropout/locked
# mistake out: mask=elements
# mistake dbranch: mask=elements
"""The library's own dropout, with a draw for every element."""

import numpy as np


def locked_dropout_forward(x, branch, p, key, start=0):
    keep = counter_hash(np, key, start, branch.size).reshape(branch.shape) >= int(p * 2**32)  # noqa: F821  given
    scale = 1 / (1 - p)
    out = branch * keep * scale
    out += x
    return out, (keep, scale)


def locked_dropout_backward(dout, cache):
    keep, scale = cache
    return dout.copy(), dout * keep * scale
