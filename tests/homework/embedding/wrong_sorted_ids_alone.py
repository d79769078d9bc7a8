# scratchgpt homework: embedding
# mistake dwte: rows=order
# mistake g_wte: rows=order
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    T = ids.shape[1]
    return wte[ids] + wpe[start : start + T], (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start = cache
    rows = dout.reshape(-1, dout.shape[-1])
    used, first = np.unique(np.sort(ids.ravel()), return_index=True)
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    dwte[used] = np.add.reduceat(rows, first)  # the rows are not in the order of the sorted ids
    dwpe[start : start + ids.shape[1]] = dout.sum(0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
