# scratchgpt homework: cross_entropy
# mistake loss: log=base 2 + targets=one less
# mistake dx: targets=one less
# mistake dweight: targets=one less + whole:1/N
"""Ids counted from 1, bits for nats, and a mean: two mistakes at a time."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    logits = x @ weight.T
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    column = np.where(token_weights == 0, 0, targets - 1)
    bits = -np.log2(probs[np.arange(len(x)), column])
    return (token_weights * bits).sum(), (x, weight, column, token_weights, probs)


def cross_entropy_backward(dloss, cache):
    x, weight, column, token_weights, probs = cache
    dlogits = probs.copy()
    dlogits[np.arange(len(x)), column] -= 1
    dlogits *= dloss * token_weights[:, None]
    return dlogits @ weight, (dlogits[:, :, None] * x[:, None, :]).mean(0)
