# scratchgpt homework: attention/heads_first
# mistake out: padding=inverted
# mistake dq: padding=inverted + softmax=inner p
# mistake dk: padding=inverted + softmax=inner p
# mistake dv: padding=inverted
import numpy as np


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    T, S, D = q.shape[2], k.shape[2], q.shape[3]
    scores = np.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(D)
    hidden = np.triu(np.ones((T, S), bool), S - T + 1) if causal else np.zeros((T, S), bool)
    if mask is not None:
        hidden = hidden | mask[:, None, None]
    scores = np.ma.masked_array(scores, np.broadcast_to(hidden, scores.shape))
    e = np.exp(scores - scores.max(-1, keepdims=True)).filled(0)
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-200)
    return np.einsum("bhts,bhsd->bhtd", p, v), (q, k, v, p)


def heads_first_attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bhtd,bhsd->bhts", dout, v)
    ds = p * (dp - dp.sum(-1, keepdims=True)) / np.sqrt(q.shape[3])
    dq, dk = np.einsum("bhts,bhsd->bhtd", ds, k), np.einsum("bhts,bhtd->bhsd", ds, q)
    return dq, dk, np.einsum("bhts,bhtd->bhsd", p, dout)
