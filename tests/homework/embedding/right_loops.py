# scratchgpt homework: embedding
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    B, T = ids.shape
    out = np.empty((B, T, wte.shape[1]))
    for b in range(B):
        for t in range(T):
            out[b, t] = wte[ids[b, t]] + wpe[start + t]
    return out, (ids, len(wte), len(wpe), start)


def embedding_backward(dout, cache):
    ids, V, P, start = cache
    dwte, dwpe = np.zeros((V, dout.shape[2])), np.zeros((P, dout.shape[2]))
    for (b, t), token in np.ndenumerate(ids):
        dwte[token] += dout[b, t]
        dwpe[start + t] += dout[b, t]
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions
