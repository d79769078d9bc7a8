# scratchgpt homework: attention
# mistake out: hide=zero
# mistake dq: hide=zero again
# mistake dk: hide=zero again
# mistake dv: hide=zero
import numpy as np


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    T, S, D = q.shape[1], k.shape[1], q.shape[-1]
    keep = np.ones((1, 1, T, S))
    if causal:
        keep = np.tril(keep, S - T)
    if mask is not None:
        keep = keep * mask[:, None, None, :]
    scores = np.einsum("bthd,bshd->bhts", q, k) * D**-0.5 * keep
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", weights, v), (q, k, v, weights, keep)


def attention_backward(dout, cache):
    q, k, v, weights, keep = cache
    dweights = np.einsum("bthd,bshd->bhts", dout, v)
    row = np.einsum("bhts,bhts->bht", dweights, weights)
    dscores = weights * (dweights - row[..., None]) * keep * q.shape[-1] ** -0.5
    return (
        np.einsum("bhts,bshd->bthd", dscores, k),
        np.einsum("bhts,bthd->bshd", dscores, q),
        np.einsum("bhts,bthd->bshd", weights, dout),
        None,
    )
