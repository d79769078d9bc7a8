# scratchgpt homework: cross_entropy
# mistake loss: nan
# mistake dx: nan
# mistake dweight: nan
"""exp of the logits as they are: right for small ones."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    e = np.exp(x @ weight.T)
    probs = e / e.sum(1, keepdims=True)
    safe = np.maximum(targets, 0)
    loss = -(token_weights * np.log(probs[np.arange(len(x)), safe])).sum()
    return loss, (x, weight, safe, token_weights, probs)


def cross_entropy_backward(dloss, cache):
    x, weight, safe, token_weights, probs = cache
    dlogits = probs.copy()
    dlogits[np.arange(len(x)), safe] -= 1
    dlogits *= (dloss * token_weights)[:, None]
    return dlogits @ weight, dlogits.T @ x
