# scratchgpt homework: attention
# mistake out: scale=none
# mistake dq: scale=none
# mistake dk: scale=none
# mistake dv: scale=none
import numpy as np


def heads_first(a):
    return a.transpose(0, 2, 1, 3)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S = q.shape[1], k.shape[1]
    scores = heads_first(q) @ heads_first(k).swapaxes(-1, -2)
    hidden = np.zeros(scores.shape, bool)
    if causal:
        hidden |= np.triu(np.ones((T, S), bool), k=S - T + 1)
    if mask is not None:
        hidden |= ~mask[:, None, None, :]
    scores[hidden] = -np.inf
    top = scores.max(-1, keepdims=True)
    probs = np.exp(scores - np.where(np.isinf(top), 0.0, top))
    probs /= np.maximum(probs.sum(-1, keepdims=True), 1e-30)
    return heads_first(probs @ heads_first(v)).copy(), (q, k, v, probs)


def attention_backward(dout, cache):
    q, k, v, probs = cache
    q, k, v, g = map(heads_first, (q, k, v, dout))
    dprobs = g @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - np.sum(dprobs * probs, axis=-1, keepdims=True))
    grads = dscores @ k, dscores.swapaxes(-1, -2) @ q, probs.swapaxes(-1, -2) @ g
    return *(heads_first(a).copy() for a in grads), None
