# scratchgpt homework: attention/heads_first
# mistake out: causal=without padding
# mistake dq: causal=without padding
# mistake dk: causal=without padding
# mistake dv: causal=without padding
import numpy as np


def probabilities(q, k, mask, causal):
    (T, D), S = q.shape[2:], k.shape[2]
    shown = np.ones((len(q), 1, T, S), bool)
    if mask is not None:
        shown &= mask[:, None, None]
    elif causal:
        shown &= np.tril(shown, S - T)
    scores = np.where(shown, q @ k.swapaxes(2, 3) / D**0.5, -np.inf)
    e = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e100))
    return e / np.maximum(e.sum(-1, keepdims=True), 1e-100)


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    p = probabilities(q, k, mask, causal)
    return p @ v, (q, k, v, p)


def heads_first_attention_backward(dout, cache):
    q, k, v, p = cache
    dp = dout @ v.swapaxes(2, 3)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / q.shape[3] ** 0.5
    return ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ dout
