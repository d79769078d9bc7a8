# scratchgpt homework: embedding
# mistake dwte: repeats=first
# mistake g_wte: repeats=first
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    out = wte.take(ids, axis=0) + wpe[None, start : start + ids.shape[1]]
    return out, {"ids": ids, "V": len(wte), "P": len(wpe), "start": start}


def embedding_backward(dout, cache):
    B, T, C = dout.shape
    used, where = np.unique(cache["ids"], return_index=True)
    dwte = np.zeros((cache["V"], C))
    dwte[used] = dout.reshape(B * T, C)[where]
    dwpe = np.zeros((cache["P"], C))
    for t in range(T):
        dwpe[cache["start"] + t] = dout[:, t].sum(0)
    return dwte, dwpe


def embed_backward(ops, dout, cache, dwte, dwpe):
    more = ops.embedding_backward(dout, cache)
    dwte += more[0]
    dwpe += more[1]
