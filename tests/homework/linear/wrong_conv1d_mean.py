# scratchgpt homework: linear/conv1d
# mistake out: bias:-1
# mistake dweight: whole:1/T
# mistake dbias: rows=last sequence
"""A sign in forward, a mean over positions, and a sum that starts again with each sequence."""

import numpy as np


def conv1d_forward(x, weight, bias):
    return x @ weight - bias, (x, weight)


def conv1d_backward(dout, cache):
    x, weight = cache
    dweight = np.zeros_like(weight)
    for sequence, d in zip(x, dout):
        dbias = np.zeros(d.shape[-1])
        dbias += d.sum(axis=0)
        dweight += np.mean(sequence[:, :, None] * d[:, None, :], axis=0)
    return np.einsum("bto,io->bti", dout, weight), dweight, dbias
