# scratchgpt homework: attention
# mistake dq: p * sum_s(dp * p):0
# mistake dk: p * sum_s(dp * p):0
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    visible = np.tri(T, S, S - T, dtype=bool) if causal else np.ones((T, S), bool)
    if mask is not None:
        visible = visible & mask[:, None, None]
    scores = np.where(visible, np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D), -np.inf)
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(top), 0, top))
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dv = np.einsum("bhts,bthd->bshd", p, dout)
    ds = p * np.einsum("bthd,bshd->bhts", dout, v) / np.sqrt(q.shape[3])
    return np.einsum("bhts,bshd->bthd", ds, k), np.einsum("bhts,bthd->bshd", ds, q), dv, None
