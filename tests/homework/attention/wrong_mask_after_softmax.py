# scratchgpt homework: attention
# mistake out: hide=after
# mistake dq: hide=after
# mistake dk: hide=after
# mistake dv: hide=after
import math

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[-1]
    probs = softmax(np.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D))
    if causal:
        probs = probs * np.tril(np.ones((T, S)), k=S - T)
    if mask is not None:
        probs = probs * mask[:, None, None, :]
    return np.einsum("bhts,bshd->bthd", probs, v), (q, k, v, probs)


def attention_backward(dout, cache):
    q, k, v, probs = cache
    dv = np.einsum("bhts,bthd->bshd", probs, dout)
    dprobs = np.einsum("bthd,bshd->bhts", dout, v)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dscores /= math.sqrt(q.shape[-1])
    dq = np.einsum("bhts,bshd->bthd", dscores, k)
    dk = np.einsum("bhts,bthd->bshd", dscores, q)
    return dq, dk, dv, None
