# scratchgpt homework: moe_router
import numpy as np


def choose_experts(scores, k, n_groups=1, top_groups=1):
    rows = []
    for row in scores.tolist():
        ranking = sorted(range(len(row)), key=lambda expert: -row[expert])
        rows.append(ranking[:k])
    return np.array(rows)


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    weights = np.zeros(chosen.shape)
    for n in range(len(scores)):
        total = sum(scores[n, e] for e in chosen[n]) if normalise else 1.0
        for j, e in enumerate(chosen[n]):
            weights[n, j] = scale * scores[n, e] / total
    return weights, (scores, chosen, normalise, scale)


def gate_backward(dout, cache):
    scores, chosen, normalise, scale = cache
    dscores = np.zeros(scores.shape)
    for n in range(len(scores)):
        total = sum(scores[n, e] for e in chosen[n])
        for j, e in enumerate(chosen[n]):
            if not normalise:
                dscores[n, e] += scale * dout[n, j]
                continue
            dscores[n, e] += scale * dout[n, j] / total
            for i, _ in enumerate(chosen[n]):
                dscores[n, e] -= scale * dout[n, i] * scores[n, chosen[n, i]] / total**2
    return dscores


def load_balance_forward(probs, chosen, token_weights):
    B, T, E = probs.shape
    loss, f = 0.0, np.zeros((B, E))
    for b in range(B):
        W = sum(token_weights[b])
        for e in range(E):
            P = 0.0
            for t in range(T):
                f[b, e] += token_weights[b, t] * list(chosen[b, t]).count(e) / W
                P += token_weights[b, t] * probs[b, t, e] / W
            loss += W * E * f[b, e] * P
    return loss, (f, token_weights, E)


def load_balance_backward(dloss, cache):
    f, token_weights, E = cache
    B, T = token_weights.shape
    dprobs = np.zeros((B, T, E))
    for b in range(B):
        for t in range(T):
            dprobs[b, t] = dloss * E * f[b] * token_weights[b, t]
    return dprobs
