# scratchgpt homework: embedding
# mistake dwte: rows=first
# mistake dwpe: rows=first
# mistake g_wte: rows=first
# mistake g_wpe: rows=first
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    T = ids.shape[1]
    return wte[ids] + wpe[start : start + T], (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start = cache
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    for t in range(ids.shape[1]):
        dwte[ids[0, t]] += dout[0, t]
        dwpe[start + t] += dout[0, t]
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    np.add(dwte, tokens, out=dwte)
    np.add(dwpe, positions, out=dwpe)
