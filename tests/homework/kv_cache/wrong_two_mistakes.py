# scratchgpt homework: kv_cache
# mistake x: position=zero
# mistake attended: causal=start + padding=inverted
# mistake out: causal=start + position=zero
import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    out = np.empty((*ids.shape, wte.shape[1]))
    for t in range(ids.shape[1]):
        out[:, t] = wte[ids[:, t]] + wpe[t]
    return out, ids


def extend(store, new, length):
    end = length + new.shape[1]
    store[:, :, length:end] = new.transpose(0, 2, 1, 3)
    return store[:, :, :end].transpose(0, 2, 1, 3)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[-1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    visible = np.ones((len(q), 1, T, S), bool)
    if causal:
        visible &= np.tril(np.ones((T, S), bool))
    if mask is not None:
        visible &= ~mask[:, None, None, :]
    weights = np.exp(scores) * visible
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    return np.einsum("bhts,bshd->bthd", weights, v), None
