# scratchgpt homework: cross_entropy
# mistake dx: weights=skipped
# mistake dweight: weights=skipped
import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights, bias=None):
    z = x @ weight.T
    z -= z.max(1, keepdims=True)
    lse = np.log(np.exp(z).sum(1))
    loss = 0.0
    for i, target in enumerate(targets):
        if target >= 0:
            loss += token_weights[i] * (lse[i] - z[i, target])
    return loss, (x, weight, targets, np.exp(z - lse[:, None]))


def cross_entropy_backward(dloss, cache):
    x, weight, targets, probs = cache
    dz = probs.copy()
    for i, target in enumerate(targets):
        if target >= 0:
            dz[i, target] -= 1
    dz *= dloss
    return dz @ weight, dz.T @ x
