# scratchgpt homework: moe_router
# mistake loss: whole:1/k
# mistake dprobs: whole:1/k
import numpy as np


def choose_experts(scores, k, n_groups=1, top_groups=1):
    return np.argsort(-scores, axis=1)[:, :k].copy()


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    s = np.take_along_axis(scores, chosen, 1)
    total = s.sum(1, keepdims=True)
    weights = scale * (s / total if normalise else s)
    return weights, (s, total, normalise, scale, chosen, scores.shape)


def gate_backward(dout, cache):
    s, total, normalise, scale, chosen, shape = cache
    ds = scale * dout
    if normalise:
        ds = (ds - (ds * s).sum(1, keepdims=True) / total) / total
    dscores = np.zeros(shape)
    np.put_along_axis(dscores, chosen, ds, 1)
    return dscores


def load_balance_forward(probs, chosen, token_weights):
    B, T, k = chosen.shape
    E = probs.shape[2]
    f, P, W = np.zeros((B, E)), np.zeros((B, E)), token_weights.sum(1)
    for b in range(B):
        f[b] = np.bincount(chosen[b].ravel(), np.repeat(token_weights[b], k), minlength=E) / (k * W[b])
        P[b] = token_weights[b] @ probs[b] / W[b]
    return E * np.dot(W, (f * P).sum(1)), (f, token_weights)


def load_balance_backward(dloss, cache):
    f, token_weights = cache
    return dloss * f.shape[1] * np.einsum("bt,be->bte", token_weights, f)
