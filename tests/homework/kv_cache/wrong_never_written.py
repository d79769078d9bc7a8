# scratchgpt homework: kv_cache
# mistake store: written=no
# mistake out: written=no
import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    positions = np.arange(start, start + ids.shape[1])
    return np.take(wte, ids, axis=0) + np.take(wpe, positions, axis=0)[None], ()


def extend(store, new, length):
    rows = np.swapaxes(new, 1, 2)
    past = store[:, :, :length].copy()
    store = np.concatenate([past, rows], axis=2)
    return np.swapaxes(store, 1, 2)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[-1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    visible = np.ones((len(q), 1, T, S), bool)
    if causal:
        visible &= np.tril(np.ones((T, S), bool), S - T)
    if mask is not None:
        visible &= mask[:, None, None, :]
    scores = np.where(visible, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", weights, v), None
