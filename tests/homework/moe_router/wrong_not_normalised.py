# scratchgpt homework: moe_router
# mistake weights: normalise=never
# mistake dscores: normalise=never
import numpy as np


def choose_experts(scores, k, n_groups=1, top_groups=1):
    return np.argsort(-scores, axis=1)[:, :k].copy()


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    rows = np.arange(len(scores))[:, None]
    return scale * scores[rows, chosen], (rows, chosen, scale, scores.shape)


def gate_backward(dout, cache):
    rows, chosen, scale, shape = cache
    dscores = np.zeros(shape)
    dscores[rows, chosen] = scale * dout
    return dscores


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
