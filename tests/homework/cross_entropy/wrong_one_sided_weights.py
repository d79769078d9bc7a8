# scratchgpt homework: cross_entropy
# mistake loss: weights=twice
# mistake dx: weights=one-hot
# mistake dweight: weights=softmax
"""The token weights are in the wrong places: twice, on one term, on the other."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    logits = x @ weight.T
    logits = logits - np.amax(logits, axis=1)[:, None]
    logp = logits - np.log(np.exp(logits).sum(axis=1))[:, None]
    targets = targets * (token_weights != 0)
    losses = -logp[np.arange(len(x)), targets] * token_weights
    return losses @ token_weights, (x, weight, targets, token_weights, logp)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, logp = cache
    w = token_weights[:, None]
    onehot = np.eye(len(weight))[targets]
    p = np.exp(logp)
    return dloss * (p - w * onehot) @ weight, dloss * (w * p - onehot).T @ x
