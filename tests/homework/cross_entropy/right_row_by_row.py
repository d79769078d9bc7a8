# scratchgpt homework: cross_entropy
"""One token at a time; ignored ones are skipped; the gradient is made in forward and scaled in backward."""

import math

import numpy as np


def softmax(z):
    e = np.exp(z - max(z))
    return e / sum(e)


def cross_entropy_forward(x, weight, targets, token_weights):
    loss, dx, dweight = 0.0, np.zeros_like(x), np.zeros_like(weight)
    for i, (target, w) in enumerate(zip(targets, token_weights)):
        if w == 0:
            continue
        p = softmax(weight @ x[i])
        loss -= w * math.log(p[target])
        for v in range(len(weight)):
            dz = w * (p[v] - (v == target))
            dx[i] += dz * weight[v]
            dweight[v] += dz * x[i]
    return loss, (dx, dweight)


def cross_entropy_backward(dloss, cache):
    return tuple(dloss * gradient for gradient in cache)
