# scratchgpt homework: attention
# mistake out: causal=strict
# mistake dq: causal=strict
# mistake dk: causal=strict
# mistake dv: causal=strict
import numpy as np

NEVER = float("-inf")


class Head:
    """What one head of one sequence remembers."""

    def __init__(self, q, k, v, hidden):
        scores = q @ k.T / np.sqrt(q.shape[1])
        scores[hidden] = NEVER
        e = np.exp(scores - np.nan_to_num(scores.max(1), neginf=0.0)[:, None])
        self.q, self.k, self.v = q, k, v
        self.p = e / np.where(hidden.all(1), 1.0, e.sum(1))[:, None]
        self.out = self.p @ v

    def back(self, g):
        dp = g @ self.v.T
        ds = self.p * (dp - (dp * self.p).sum(1)[:, None]) / np.sqrt(self.q.shape[1])
        return ds @ self.k, ds.T @ self.q, self.p.T @ g


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    B, T, H, _ = q.shape
    S = k.shape[1]
    out, heads = np.zeros_like(q), {}
    for b in range(B):
        hidden = np.zeros((T, S), bool)
        for t in range(T):
            for s in range(S):
                hidden[t, s] = (causal and s >= S - T + t) or (mask is not None and not mask[b, s])
        for h in range(H):
            heads[b, h] = Head(q[b, :, h], k[b, :, h], v[b, :, h], hidden)
            out[b, :, h] = heads[b, h].out
    return out, (q.shape, k.shape, heads)


def attention_backward(dout, cache):
    q_shape, k_shape, heads = cache
    dq, dk, dv = np.zeros(q_shape), np.zeros(k_shape), np.zeros(k_shape)
    for (b, h), head in heads.items():
        dq[b, :, h], dk[b, :, h], dv[b, :, h] = head.back(dout[b, :, h])
    return dq, dk, dv, None
