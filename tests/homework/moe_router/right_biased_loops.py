# scratchgpt homework: moe_router/biased
import numpy as np


def biased_router_forward(scores, bias, k, n_groups, top_groups, scale):
    N, E = scores.shape
    size = E // n_groups
    gates, picks = np.zeros((N, E)), []
    for n in range(N):
        by = [float(scores[n, e] + bias[e]) for e in range(E)]
        value = [sum(sorted(by[g * size : (g + 1) * size])[-2:]) for g in range(n_groups)]
        best = sorted(range(n_groups), key=lambda g: value[g], reverse=True)[:top_groups]
        allowed = [e for e in range(E) if e // size in best]
        chosen = sorted(allowed, key=lambda e: by[e], reverse=True)[:k]
        total = sum(scores[n, e] for e in chosen)
        for e in chosen:
            gates[n, e] = scale * scores[n, e] / total
        picks.append((chosen, total))
    return gates, (scores.copy(), picks, scale)


def biased_router_backward(dgates, cache):
    scores, picks, scale = cache
    dscores = np.zeros_like(scores)
    for n, (chosen, total) in enumerate(picks):
        inner = sum(dgates[n, e] * scores[n, e] for e in chosen) / total
        for e in chosen:
            dscores[n, e] = scale * (dgates[n, e] - inner) / total
    return dscores


def move_bias(bias, load, speed):
    mean = sum(load) / len(load)
    moved = []
    for b, tokens in zip(bias, load):
        moved.append(b + speed if tokens < mean else b - speed if tokens > mean else b)
    return np.array(moved)
