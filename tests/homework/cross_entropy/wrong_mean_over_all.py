# scratchgpt homework: cross_entropy
# mistake loss: whole:1/N
# mistake dx: whole:1/N
# mistake dweight: whole:1/N
"""The mean over the batch is taken here as well."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    z = z - z.max(1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(1, keepdims=True))
    targets = np.where(targets < 0, 0, targets)
    losses = -token_weights * log_probs[np.arange(len(x)), targets]
    return losses.mean(), (x, weight, targets, token_weights, log_probs)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, log_probs = cache
    n = len(x)
    dz = np.exp(log_probs)
    dz[range(n), targets] -= 1
    dz *= (token_weights * dloss / n)[:, None]
    return dz @ weight, dz.T @ x
