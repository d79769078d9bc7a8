# scratchgpt homework: cross_entropy/logits
"""With the softmax's Jacobian, diag(p) - p p^T, row by row."""

import numpy as np


def softmax_loss_forward(logits, targets, token_weights):
    probs, loss = np.zeros_like(logits), 0
    for i, row in enumerate(logits):
        e = np.exp(row - row.max())
        probs[i] = e / e.sum()
        if token_weights[i]:
            loss -= token_weights[i] * np.log(probs[i, targets[i]])
    return loss, (probs, targets, token_weights)


def softmax_loss_backward(dloss, cache):
    probs, targets, token_weights = cache
    dlogits = np.zeros_like(probs)
    for i, p in enumerate(probs):
        if token_weights[i]:
            dp = np.zeros_like(p)
            dp[targets[i]] = -dloss * token_weights[i] / p[targets[i]]
            dlogits[i] = (np.diag(p) - np.outer(p, p)) @ dp
    return dlogits
