# scratchgpt homework: embedding
# mistake dwte: repeats=last
# mistake g_wte: repeats=last
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    T = ids.shape[1]
    return wte[ids] + wpe[start : start + T], (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start = cache
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    dwte[ids] += dout
    dwpe[start : start + ids.shape[1]] += dout.sum(axis=0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
