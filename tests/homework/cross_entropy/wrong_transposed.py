# scratchgpt homework: cross_entropy
# mistake dweight: shape
# mistake dx: softmax:0
"""dweight comes out as (C, V); dx has no softmax in it."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = x @ weight.T
    z -= z.max(axis=1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    safe = np.where(token_weights == 0, 0, targets)
    return -(token_weights * log_probs[np.arange(len(x)), safe]).sum(), (x, weight, safe, token_weights, log_probs)


def cross_entropy_backward(dloss, cache):
    x, weight, safe, token_weights, log_probs = cache
    w = dloss * token_weights[:, None]
    dlogits = w * (np.exp(log_probs) - np.eye(len(weight))[safe])
    return -w * weight[safe], x.T @ dlogits
