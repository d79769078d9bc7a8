# scratchgpt homework: embedding
# mistake dwte: repeats=mean
# mistake dwpe: whole:1/B
# mistake g_wte: repeats=mean
# mistake g_wpe: position:1/B
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start + np.arange(ids.shape[1])], (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    ids, (V, C), (P, _), start = cache
    dwte = np.array([dout[ids == v].mean(0) if np.any(ids == v) else np.zeros(C) for v in range(V)])
    dwpe = np.zeros((P, C))
    dwpe[start : start + ids.shape[1]] = dout.mean(axis=0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
