# scratchgpt homework: attention
# mistake out: nothing=all
# mistake dq: nothing=all
# mistake dk: nothing=all
# mistake dv: nothing=all
import numpy as np

HIDDEN = -1e4


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    visible = np.tri(T, S, S - T, dtype=bool) if causal else np.full((T, S), True)
    if mask is not None:
        visible = np.logical_and(visible, mask[:, None, None, :])
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1]) + HIDDEN * (1 - visible)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    dq = np.einsum("bhts,bshd->bthd", ds, k)
    dk = np.einsum("bhts,bthd->bshd", ds, q)
    return dq, dk, np.einsum("bhts,bthd->bshd", p, dout), None
