# scratchgpt homework: kv_cache
# mistake attended: causal=strict
# mistake out: causal=strict
import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    positions = np.arange(start, start + ids.shape[1])
    return np.take(wte, ids, axis=0) + np.take(wpe, positions, axis=0)[None], ()


def extend(store, new, length):
    rows = np.swapaxes(new, 1, 2)
    past = store[:, :, :length].copy()
    store[:, :, length : length + rows.shape[2]] = rows
    return np.swapaxes(np.concatenate([past, rows], axis=2), 1, 2)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[-1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    visible = np.ones((len(q), 1, T, S), bool)
    if causal:
        visible &= np.tril(np.ones((T, S), bool), S - T - 1)
    if mask is not None:
        visible &= mask[:, None, None, :]
    weights = np.exp(scores) * visible
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    return np.einsum("bhts,bshd->bthd", weights, v), None
