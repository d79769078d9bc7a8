# scratchgpt homework: embedding
# mistake dwte: repeats=last
# mistake dwpe: rows=last
# mistake g_wte: repeats=last
# mistake g_wpe: rows=last
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    rows = [[wte[token] + wpe[start + t] for t, token in enumerate(sequence)] for sequence in ids]
    return np.array(rows), (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape, start = cache
    dwte, dwpe = np.zeros(wte_shape), np.zeros(wpe_shape)
    for sequence, gradients in zip(ids, dout):
        for t, (token, gradient) in enumerate(zip(sequence, gradients)):
            dwte[token] = gradient
            dwpe[start + t] = gradient
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    tokens, positions = embedding_backward(dout, cache)
    dwte[:] = dwte + tokens
    dwpe[:] = dwpe + positions
