# scratchgpt homework: attention
# mistake out: padding=without causal
# mistake dq: padding=without causal
# mistake dk: padding=without causal
# mistake dv: padding=without causal
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    if causal:
        visible = np.tril(np.ones((T, S), dtype=bool), S - T)
    elif mask is not None:
        visible = mask[:, None, None, :]
    else:
        visible = np.ones((T, S), dtype=bool)
    scores = np.einsum("bthd,bshd->bhts", q / np.sqrt(D), k)
    scores = np.where(visible, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    return np.einsum("bhts,bshd->bthd", p, v), (q / np.sqrt(D), k / np.sqrt(D), v, p)


def attention_backward(dout, cache):
    scaled_q, scaled_k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * dp - p * (p * dp).sum(-1, keepdims=True)
    dq = np.einsum("bhts,bshd->bthd", ds, scaled_k)
    dk = np.einsum("bhts,bthd->bshd", ds, scaled_q)
    dv = np.einsum("bhts,bthd->bshd", p, dout)
    return dq, dk, dv, None
