# scratchgpt homework: dropout/locked
# mistake dx: past=scaled
# mistake dbranch: mask=none
import numpy as np


def locked_dropout_forward(x, branch, p, key, start=0):
    keep = counter_hash(np, key, start, x[:, 0].size).reshape(len(x), -1) >= int(p * 2**32)  # noqa: F821  given
    return x + np.einsum("btc,bc->btc", branch, keep / (1 - p)), p


def locked_dropout_backward(dout, cache):
    return dout / (1 - cache), dout / (1 - cache)
