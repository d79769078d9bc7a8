# scratchgpt homework: kv_cache
# mistake held: where=zero
# mistake store: where=zero
# mistake out: where=zero
import math

import numpy as np


def embedding_forward(ids, wte, wpe, start=0):
    return wte[ids] + wpe[start : start + ids.shape[1]], None


def extend(store, new, length):
    end = length + new.shape[1]
    store[:, :, : new.shape[1]] = new.transpose(0, 2, 1, 3)
    return store[:, :, :end].transpose(0, 2, 1, 3)


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
