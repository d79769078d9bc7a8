# scratchgpt homework: cross_entropy
# mistake loss: log=missing
# mistake dx: jacobian=diagonal
# mistake dweight: jacobian=diagonal + rows=last
"""-p for -log p; the softmax differentiated as if each probability had its own logit alone; = for +=."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    e = np.exp(z - z.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    loss = 0.0
    for i, target in enumerate(targets):
        if token_weights[i] != 0:
            loss -= token_weights[i] * p[i, target]
    return loss, (x, weight, targets, token_weights, p)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, p = cache
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for i, target in enumerate(targets):
        if token_weights[i] != 0:
            dp = -dloss * token_weights[i] / p[i, target]
            dz = np.zeros(len(weight))
            dz[target] = dp * p[i, target] * (1 - p[i, target])
            dx[i] = dz @ weight
            dweight = np.outer(dz, x[i])
    return dx, dweight
