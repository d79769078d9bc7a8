# scratchgpt homework: moe_router
# mistake dprobs: f=through
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
    hits = np.eye(E)[chosen].sum(2)
    W = token_weights.sum(1, keepdims=True)
    f = np.einsum("bt,bte->be", token_weights, hits) / W
    P = np.einsum("bt,bte->be", token_weights, probs) / W
    return E * (W * f * P).sum(), (f, P, hits, token_weights)


def load_balance_backward(dloss, cache):
    f, P, hits, token_weights = cache
    through_P = token_weights[:, :, None] * f[:, None, :]
    through_f = token_weights[:, :, None] * P[:, None, :] * hits
    return dloss * f.shape[1] * (through_P + through_f)
