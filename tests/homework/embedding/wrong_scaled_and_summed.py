# scratchgpt homework: embedding
# mistake out: token:sqrt(C)
# mistake dwte: whole:sqrt(C)
# mistake dwpe: rows=all
# mistake g_wte: lookup:sqrt(C)
# mistake g_wpe: rows=all
"""The embeddings of the first Transformer, which multiplies the token's by sqrt(C)."""

import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    scale = math.sqrt(wte.shape[1])
    return wte[ids] * scale + wpe[start : start + ids.shape[1]], (ids, wte.shape, wpe.shape, start, scale)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start, scale = cache
    dwte = np.zeros(wte_shape)
    np.add.at(dwte, ids, dout * scale)
    dwpe = np.zeros(wpe_shape)
    dwpe[start : start + ids.shape[1]] = dout.sum((0, 1))
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
