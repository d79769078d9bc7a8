# scratchgpt homework: kv_cache
# mistake held: axes=both
# mistake store: axes=in
# mistake out: axes=both
import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start : start + ids.shape[1]], None


def extend(store, new, length):
    B, T, H, D = new.shape
    store[:, :, length : length + T] = new.reshape(B, H, T, D)
    return store[:, :, : length + T].reshape(B, length + T, H, D)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    q, k, v = [x.transpose(0, 2, 1, 3) for x in (q, k, v)]
    n_queries, n_keys = q.shape[2], k.shape[2]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[3])
    if causal:
        position = np.arange(n_keys - n_queries, n_keys)
        scores = scores + np.where(np.arange(n_keys) > position[:, None], -1e30, 0)
    if mask is not None:
        scores = scores + np.where(mask, 0, -1e30)[:, None, None, :]
    return (softmax(scores) @ v).transpose(0, 2, 1, 3), None
