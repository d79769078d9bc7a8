# scratchgpt homework: kv_cache
# mistake held: shape
# mistake out: raises
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start : start + ids.shape[1]], None


def extend(store, new, length):
    end = length + new.shape[1]
    store[:, :, length:end] = np.moveaxis(new, 2, 1)
    return store[:, :, :end]


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    q, k, v = (np.moveaxis(x, 2, 1) for x in (q, k, v))
    scores = np.matmul(q, np.swapaxes(k, 2, 3)) / q.shape[-1] ** 0.5
    if causal:
        scores[..., np.triu(np.ones((T, S), bool), S - T + 1)] = -np.inf
    if mask is not None:
        scores[np.broadcast_to(~mask[:, None, None], scores.shape)] = -np.inf
    weights = np.exp(scores - scores.max(-1)[..., None])
    return np.moveaxis(weights @ v / weights.sum(-1)[..., None], 1, 2), None
