# scratchgpt homework: moe_router
import numpy as np


def choose_experts(scores, k, n_groups=1, top_groups=1):
    left, picks = scores.copy(), []
    for _ in range(k):
        best = left.argmax(1)
        picks.append(best)
        left[np.arange(len(left)), best] = -np.inf
    return np.stack(picks, 1)


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    one_hot = (chosen[:, :, None] == np.arange(scores.shape[1])).astype(float)  # (N, k, E)
    s = np.einsum("nke,ne->nk", one_hot, scores)
    weights = scale * s
    if normalise:
        weights = weights / s.sum(1)[:, None]
    return weights, (one_hot, s, normalise, scale)


def gate_backward(dout, cache):
    one_hot, s, normalise, scale = cache
    k = s.shape[1]
    jacobian = np.broadcast_to(scale * np.eye(k), (len(s), k, k))
    if normalise:
        total = s.sum(1)[:, None, None]
        jacobian = scale * (np.eye(k) / total - s[:, :, None] / total**2)  # d weights_i / d s_j
    return np.einsum("ni,nij,nje->ne", dout, jacobian, one_hot)


def load_balance_forward(probs, chosen, token_weights):
    E = probs.shape[-1]
    share = token_weights / token_weights.sum(1, keepdims=True)
    counts = np.zeros_like(probs)
    for j in range(chosen.shape[2]):
        counts += np.eye(E)[chosen[:, :, j]]
    f, P = (np.matmul(share[:, None, :], each)[:, 0] for each in (counts, probs))
    return float((token_weights.sum(1) * (f * P).sum(1)).sum()) * E, (f, share, token_weights)


def load_balance_backward(dloss, cache):
    f, share, token_weights = cache
    dP = dloss * f.shape[1] * token_weights.sum(1)[:, None] * f
    return share[:, :, None] * dP[:, None, :]
