# scratchgpt homework: moe_router
# mistake loss: tokens=mask + sequences=sum
# mistake dprobs: tokens=mask + sequences=sum
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
    E = probs.shape[2]
    mask = (token_weights > 0).astype(float)
    count = mask.sum(1)[:, None]
    hits = (chosen[..., None] == np.arange(E)).sum(2)
    f = (mask[..., None] * hits).sum(1) / count
    P = (mask[..., None] * probs).sum(1) / count
    return E * (f * P).sum(), (f, mask / count)


def load_balance_backward(dloss, cache):
    f, token_weights = cache
    return dloss * f.shape[1] * np.einsum("bt,be->bte", token_weights, f)
