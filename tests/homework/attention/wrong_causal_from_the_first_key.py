# scratchgpt homework: attention
# mistake out: causal=start
# mistake dq: causal=start
# mistake dk: causal=start
# mistake dv: causal=start
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[3])
    if causal:
        scores = np.where(np.tri(T, S, dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
    m = np.maximum(scores.max(-1, keepdims=True), -1e100)
    e = np.exp(scores - m)
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-100)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    out = np.einsum("bhts,bshd->bthd", p, v)
    delta = (dout * out).sum(-1).swapaxes(1, 2)[..., None]
    ds = p * (np.einsum("bthd,bshd->bhts", dout, v) - delta) / np.sqrt(q.shape[3])
    dq, dk = np.einsum("bhts,bshd->bthd", ds, k), np.einsum("bhts,bthd->bshd", ds, q)
    return dq, dk, np.einsum("bhts,bthd->bshd", p, dout), None
