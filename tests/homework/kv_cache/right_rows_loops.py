# scratchgpt homework: kv_cache/rows
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start : start + ids.shape[1]], None


def extend_rows(store, new, length):
    for t, row in enumerate(new.swapaxes(0, 1)):
        store[:, length + t] = row
    return np.array(store[:, : length + new.shape[1]])


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    out = np.zeros_like(q)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                last = S - T + t if causal else S - 1
                keys = [s for s in range(last + 1) if mask is None or mask[b, s]]
                scores = k[b, keys, h] @ q[b, t, h] / np.sqrt(D)
                weights = np.exp(scores - scores.max())
                out[b, t, h] = weights @ v[b, keys, h] / weights.sum()
    return out, None
