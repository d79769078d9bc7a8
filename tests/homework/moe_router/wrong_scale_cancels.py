# scratchgpt homework: moe_router
# mistake weights: scale=before
# mistake dscores: scale=none
import numpy as np


def choose_experts(scores, k, n_groups=1, top_groups=1):
    return np.argsort(-scores, axis=1)[:, :k].copy()


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    s = scale * np.take_along_axis(scores, chosen, 1)
    if normalise:
        return s / s.sum(1, keepdims=True), (s / scale, normalise, chosen, scores)
    return s, (s / scale, normalise, chosen, scores)


def gate_backward(dout, cache):
    s, normalise, chosen, scores = cache
    total = s.sum(-1, keepdims=True)
    d = dout / total - (dout * s).sum(-1, keepdims=True) / total**2 if normalise else dout
    out = 0 * scores
    out[np.arange(len(out)).reshape(-1, 1), chosen] = d
    return out


def load_balance_forward(probs, chosen, token_weights):
    E = probs.shape[2]
    hits = np.eye(E)[chosen].sum(2)
    W = token_weights.sum(1, keepdims=True)
    f = np.einsum("bt,bte->be", token_weights, hits) / W
    P = np.einsum("bt,bte->be", token_weights, probs) / W
    return E * (W * f * P).sum(), (f, token_weights)


def load_balance_backward(dloss, cache):
    f, token_weights = cache
    return dloss * f.shape[1] * np.einsum("bt,be->bte", token_weights, f)
