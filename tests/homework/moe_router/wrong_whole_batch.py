# scratchgpt homework: moe_router
# mistake loss: sequences=batch
# mistake dprobs: sequences=batch
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
    E = probs.shape[-1]
    w = token_weights.ravel()
    flat, picks = probs.reshape(-1, E), chosen.reshape(-1, chosen.shape[-1])
    f = sum(w @ (picks[:, j, None] == np.arange(E)) for j in range(picks.shape[1])) / w.sum()
    P = w @ flat / w.sum()
    return w.sum() * E * f @ P, (f, token_weights, E)


def load_balance_backward(dloss, cache):
    f, token_weights, E = cache
    return dloss * E * token_weights[..., None] * f
