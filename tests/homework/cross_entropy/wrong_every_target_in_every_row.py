# scratchgpt homework: cross_entropy
# mistake loss: targets=pairs
# mistake dx: targets=pairs
# mistake dweight: targets=pairs
"""[:, targets] where [arange, targets] belongs."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    z -= z.max(1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(1, keepdims=True))
    t = np.where(token_weights == 0, 0, targets)
    loss = -np.sum(token_weights * log_probs[:, t])
    return loss, (x, weight, t, token_weights, log_probs)


def cross_entropy_backward(dloss, cache):
    x, weight, t, token_weights, log_probs = cache
    dz = np.exp(log_probs)
    dz[:, t] -= 1
    dz *= dloss
    dz *= token_weights[:, None]
    return dz @ weight, dz.T @ x
