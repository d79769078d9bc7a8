# scratchgpt homework: attention
# mistake out: nothing=mean
# mistake dq: nothing=mean
# mistake dk: nothing=mean
# mistake dv: nothing=mean
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(T, S, S - T) > 0, scores, -1e9)
    if mask is not None:
        scores = np.where(mask[:, None, None, :], scores, -1e9)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    dq = np.einsum("bhts,bshd->bthd", ds, k)
    dk = np.einsum("bhts,bthd->bshd", ds, q)
    dv = np.einsum("bhts,bthd->bshd", p, dout)
    return dq, dk, dv, None
