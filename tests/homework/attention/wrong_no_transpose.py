# scratchgpt homework: attention
# mistake dq: raises
# mistake dk: raises
# mistake dv: raises
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
    q, k, v, g = (a.transpose(0, 2, 1, 3) for a in (q, k, v, dout))
    dv = p @ g  # p.T belongs here
    dp = g @ v.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[3])
    dq, dk = ds @ k, ds.swapaxes(2, 3) @ q
    return *(a.transpose(0, 2, 1, 3).copy() for a in (dq, dk, dv)), None
