# scratchgpt homework: embedding
# mistake out: at=0
# mistake dwpe: at=0
# mistake g_wpe: at=0
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    T = ids.shape[1]
    return wte[ids] + wpe[:T], (ids, wte, wpe)


def embedding_backward(dout, cache):
    ids, wte, wpe = cache
    dwte = np.zeros_like(wte)
    np.add.at(dwte, ids, dout)
    dwpe = np.zeros_like(wpe)
    dwpe[: ids.shape[1]] = dout.sum(0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    dtokens, dpositions = ops.embedding_backward(dout, cache)
    dwte += dtokens
    dwpe += dpositions
