# scratchgpt homework: attention
# mistake out: axis=queries
# mistake dq: axis=queries + softmax=queries
# mistake dk: axis=queries + softmax=queries
# mistake dv: axis=queries
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[3]
    qh, kh, vh = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = qh @ kh.transpose(0, 1, 3, 2) / np.sqrt(D)
    if causal:
        scores = np.where(np.arange(S) <= np.arange(T)[:, None] + S - T, scores, -np.inf)
    if mask is not None:
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
    top = scores.max(-2, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = e.sum(-2, keepdims=True)
    p = e / np.where(total > 0, total, 1)
    return (p @ vh).transpose(0, 2, 1, 3).copy(), (qh, kh, vh, p)


def attention_backward(dout, cache):
    qh, kh, vh, p = cache
    dh = dout.transpose(0, 2, 1, 3)
    dp = dh @ vh.transpose(0, 1, 3, 2)
    ds = p * (dp - (dp * p).sum(-2, keepdims=True)) / np.sqrt(qh.shape[-1])
    dq, dk, dv = ds @ kh, ds.transpose(0, 1, 3, 2) @ qh, p.transpose(0, 1, 3, 2) @ dh
    return *(x.transpose(0, 2, 1, 3).copy() for x in (dq, dk, dv)), None
