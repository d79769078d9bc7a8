# scratchgpt homework: kv_cache
# mistake attended: causal=none
# mistake out: causal=none
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start : start + ids.shape[1]], None


def extend(store, new, length):
    B, T, H, D = new.shape
    for t in range(T):
        for h in range(H):
            store[:, h, length + t, :] = new[:, t, h, :]
    return np.stack([store[:, :, s] for s in range(length + T)], 1)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    out = np.zeros_like(q)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                last = S - 1  # a cache holds only the past
                keys = [s for s in range(last + 1) if mask is None or mask[b, s]]
                scores = k[b, keys, h] @ q[b, t, h] / np.sqrt(D)
                weights = np.exp(scores - scores.max())
                out[b, t, h] = weights @ v[b, keys, h] / weights.sum()
    return out, None
