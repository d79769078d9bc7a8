# scratchgpt homework: kv_cache
# mistake held: unknown
# mistake store: unknown
# mistake out: unknown
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    positions = np.arange(start, start + ids.shape[1])
    return np.take(wte, ids, axis=0) + np.take(wpe, positions, axis=0)[None], ()


def extend(store, new, length):
    end = length + new.shape[1]
    store[:, :, length:end] = new.transpose(0, 2, 1, 3)[:, :, ::-1]
    return store[:, :, :end].transpose(0, 2, 1, 3)


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
