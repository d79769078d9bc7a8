# scratchgpt homework: moe_router/biased
import numpy as np


def biased_router_forward(scores, bias, k, n_groups, top_groups, scale):
    biased = (scores + bias).reshape(len(scores), n_groups, -1)
    good = np.sort(biased, 2)[:, :, -2:].sum(2)
    worst_kept = np.sort(good, 1)[:, -top_groups][:, None]
    allowed = np.where((good >= worst_kept)[:, :, None], biased, -np.inf).reshape(scores.shape)
    chosen = allowed >= np.sort(allowed, 1)[:, -k][:, None]
    total = (scores * chosen).sum(1, keepdims=True)
    return scale * scores * chosen / total, (scores, chosen, total, scale)


def biased_router_backward(dgates, cache):
    scores, chosen, total, scale = cache
    inner = (dgates * scores * chosen).sum(1, keepdims=True) / total
    return scale * chosen * (dgates - inner) / total


def move_bias(bias, load, speed):
    return bias + speed * np.sign(load.mean() - load)
