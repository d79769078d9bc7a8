# scratchgpt homework: embedding
# mistake out: at=next
# mistake dwpe: at=next
# mistake g_wpe: at=next
"""Positions counted from 1."""

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    positions = (start + 1 + np.arange(ids.shape[1])) % len(wpe)
    return wte[ids] + wpe[positions], (ids, positions, wte.shape, wpe.shape)


def embedding_backward(dout, cache):
    ids, positions, wte_shape, wpe_shape = cache
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    np.add.at(dwte, ids, dout)
    np.add.at(dwpe, positions, dout.sum(0))
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
