# scratchgpt homework: attention
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D)
    visible = np.tril(np.ones((T, S), bool), S - T) if causal else np.ones((T, S), bool)
    visible = visible[None, None]
    if mask is not None:
        visible = visible & mask[:, None, None]
    scores = np.where(visible, scores, -1e300)
    e = np.exp(scores - scores.max(-1, keepdims=True)) * visible
    probs = e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
    return np.einsum("bhts,bshd->bthd", probs, v), (q, k, v, probs)


def attention_backward(dout, cache):
    q, k, v, probs = cache
    dv = np.einsum("bhts,bthd->bshd", probs, dout)
    dprobs = np.einsum("bthd,bshd->bhts", dout, v)
    delta = np.einsum("bhts,bhts->bht", dprobs, probs)
    dscores = probs * (dprobs - delta[..., None]) / np.sqrt(q.shape[3])
    return np.einsum("bhts,bshd->bthd", dscores, k), np.einsum("bhts,bthd->bshd", dscores, q), dv, None
