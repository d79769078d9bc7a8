# scratchgpt homework: cross_entropy
# mistake dweight: repeats=last
"""The one-hot part of dweight is a scatter in which a repeated target is written once."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    m = z.max(1)
    log_total = m + np.log(np.exp(z - m[:, None]).sum(1))
    t = np.where(token_weights == 0, 0, targets)
    return token_weights @ (log_total - z[np.arange(len(t)), t]), (x, weight, t, token_weights, log_total)


def cross_entropy_backward(dloss, cache):
    x, weight, t, token_weights, log_total = cache
    w = dloss * token_weights[:, None]
    probs = w * np.exp(x @ weight.T - log_total[:, None])
    dx = probs @ weight - w * weight[t]
    dweight = probs.T @ x
    dweight[t] -= w * x
    return dx, dweight
