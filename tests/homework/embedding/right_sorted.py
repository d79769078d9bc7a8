# scratchgpt homework: embedding
"""Equal ids are brought together by sorting, and each run of them is summed at once."""

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    out = np.take(wte, ids, axis=0)
    out += wpe[start:][: ids.shape[1]]
    return out, (ids.ravel(), wte.shape, wpe.shape, slice(start, start + ids.shape[1]))


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, span = cache
    order = np.argsort(ids, kind="stable")
    used, first = np.unique(ids[order], return_index=True)
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    dwte[used] = np.add.reduceat(dout.reshape(len(ids), -1)[order], first)
    dwpe[span] = dout.sum(0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    ids, _, _, span = cache
    np.add.at(dwte, ids, dout.reshape(len(ids), -1))
    dwpe[span] += dout.sum(0)
