# scratchgpt homework: kv_cache
# mistake held: shape
# mistake out: unknown
import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    out = np.empty((*ids.shape, wte.shape[1]))
    for t in range(ids.shape[1]):
        out[:, t] = wte[ids[:, t]] + wpe[start + t]
    return out, ids


def extend(store, new, length):
    T = new.shape[1]
    store[:, :, length : length + T] = new.swapaxes(1, 2)
    return store[:, :, :T].swapaxes(1, 2)


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
