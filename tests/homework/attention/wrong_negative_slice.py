# scratchgpt homework: attention
# mistake out: causal=wrap
# mistake dq: causal=wrap
# mistake dk: causal=wrap
# mistake dv: causal=wrap
import numpy as np


def softmax(scores):
    largest = scores.max(-1, keepdims=True)
    largest[largest == -np.inf] = 0
    p = np.exp(scores - largest)
    total = p.sum(-1, keepdims=True)
    total[total == 0] = 1
    return p / total


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D)
    if causal:
        for t in range(T):
            scores[:, :, t, S - T + t + 1 :] = -np.inf
    if mask is not None:
        scores[np.broadcast_to(~mask[:, None, None], scores.shape)] = -np.inf
    p = softmax(scores)
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / q.shape[3] ** 0.5
    dq = np.einsum("bhts,bshd->bthd", ds, k)
    dk = np.einsum("bhts,bthd->bshd", ds, q)
    dv = np.einsum("bhts,bthd->bshd", p, dout)
    return dq, dk, dv, None
