# scratchgpt homework: attention
# mistake out: nan
# mistake dq: nan
# mistake dk: nan
# mistake dv: nan
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    visible = np.tri(T, S, S - T) if causal else np.ones((T, S))
    if mask is not None:
        visible = visible * mask[:, None, None, :]
    e = np.exp(np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1])) * visible
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    dq = np.einsum("bhts,bshd->bthd", ds, k)
    dk = np.einsum("bhts,bthd->bshd", ds, q)
    return dq, dk, np.einsum("bhts,bthd->bshd", p, dout), None
