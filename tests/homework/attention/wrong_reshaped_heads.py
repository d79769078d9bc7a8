# scratchgpt homework: attention
# mistake out: heads=reshape
# mistake dq: heads=reshape
# mistake dk: heads=reshape
# mistake dv: heads=reshape
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, D = q.shape
    S = k.shape[1]
    qh = q.reshape(B, H, T, D)
    kh = k.reshape(B, H, S, D)
    vh = v.reshape(B, H, S, D)
    scores = qh @ kh.swapaxes(2, 3) / np.sqrt(D)
    if causal:
        scores += np.triu(np.full((T, S), -np.inf), S - T + 1)
    if mask is not None:
        scores = np.where(mask[:, None, None], scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    top[top == -np.inf] = 0
    e = np.exp(scores - top)
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-30)
    return (p @ vh).reshape(B, T, H, D), (qh, kh, vh, p)


def attention_backward(dout, cache):
    qh, kh, vh, p = cache
    B, H, T, D = qh.shape
    S = kh.shape[2]
    dh = dout.reshape(B, H, T, D)
    dp = dh @ vh.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(D)
    dq = (ds @ kh).reshape(B, T, H, D)
    dk = (ds.swapaxes(2, 3) @ qh).reshape(B, S, H, D)
    dv = (p.swapaxes(2, 3) @ dh).reshape(B, S, H, D)
    return dq, dk, dv, None
