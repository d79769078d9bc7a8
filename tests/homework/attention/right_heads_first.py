# scratchgpt homework: attention/heads_first
import numpy as np


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    T, S, D = q.shape[2], k.shape[2], q.shape[3]
    scores = q @ k.swapaxes(2, 3) / np.sqrt(D)
    if causal:
        scores = np.where(np.arange(S) > np.arange(S - T, S)[:, None], -np.inf, scores)
    if mask is not None:
        scores = np.where(mask[:, None, None], scores, -np.inf)
    largest = np.max(scores, -1, keepdims=True)
    e = np.exp(scores - np.where(largest == -np.inf, 0, largest))
    p = e / np.where(largest == -np.inf, 1, e.sum(-1, keepdims=True))
    return p @ v, (q, k, v, p)


def heads_first_attention_backward(dout, cache):
    q, k, v, p = cache
    delta = np.einsum("bhtd,bhtd->bht", dout, p @ v)[..., None]
    ds = p * (dout @ v.swapaxes(2, 3) - delta) / np.sqrt(q.shape[3])
    return ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ dout
