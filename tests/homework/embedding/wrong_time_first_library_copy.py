# scratchgpt homework: embedding/time_first
# mistake out: at=batch
# mistake dwpe: at=batch
"""The library's own code, which takes (B, T)."""

import numpy as np


def time_first_embedding_forward(ids, wte, wpe, start):
    T = ids.shape[1]
    return wte[ids] + wpe[start : start + T], (ids, wte.shape, wpe.shape, start)


def time_first_embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start = cache
    dwte = np.zeros(wte_shape, dout.dtype)
    dwpe = np.zeros(wpe_shape, dout.dtype)
    np.add.at(dwte, ids, dout)
    dwpe[start : start + ids.shape[1]] = dout.sum(0)
    return dwte, dwpe
