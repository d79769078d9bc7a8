# scratchgpt homework: cross_entropy
# mistake loss: weights=ones
# mistake dx: weights=ones
# mistake dweight: weights=ones
"""The ignored target is made 0, so that indexing works, and then counted like any other."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    targets = np.where(targets == -100, 0, targets)
    logits = x @ weight.T
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    loss = -np.log(probs[np.arange(len(targets)), targets]).sum()
    return loss, (x, weight, targets, probs)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, probs = cache
    dlogits = probs.copy()
    for i, target in enumerate(targets):
        dlogits[i, target] -= 1
    return dloss * dlogits @ weight, dloss * dlogits.T @ x
