# scratchgpt homework: attention
# mistake out: causal=late
# mistake dq: causal=late + p * sum_s(dp * p):1/S
# mistake dk: causal=late + p * sum_s(dp * p):1/S
# mistake dv: causal=late
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    (B, T, H, D), S = q.shape, k.shape[1]
    p = np.zeros((B, H, T, S))
    for b in range(B):
        for t in range(T):
            last = min(S, S - T + t + 2) if causal else S
            seen = np.array([s for s in range(last) if mask is None or mask[b, s]], int)
            if len(seen):
                z = np.einsum("hd,shd->hs", q[b, t], k[b, seen]) / D**0.5
                e = np.exp(z - z.max(1, keepdims=True))
                p[b, :, t, seen] = (e / e.sum(1, keepdims=True)).T
    return np.einsum("bhts,bshd->bthd", p, v), (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dp = np.einsum("bthd,bshd->bhts", dout, v)
    ds = p * (dp - (dp * p).mean(-1, keepdims=True)) / q.shape[-1] ** 0.5
    dq = np.einsum("bhts,bshd->bthd", ds, k)
    dk = np.einsum("bhts,bthd->bshd", ds, q)
    return dq, dk, np.einsum("bhts,bthd->bshd", p, dout), None
