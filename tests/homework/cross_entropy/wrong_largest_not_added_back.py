# scratchgpt homework: cross_entropy
# mistake loss: softmax=max
# mistake dx: softmax=no sum
# mistake dweight: softmax=no sum + dloss=twice
"""The log of the sum lacks the largest logit; the softmax on the way back lacks its sum."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    loss = 0
    exps = []
    for row, target, w in zip(x, targets, token_weights):
        z = weight @ row
        e = np.exp(z - z.max())
        exps.append(e)
        if w > 0:
            loss += w * (np.log(e.sum()) - z[target])
    return loss, (x, weight, targets, token_weights, np.stack(exps))


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, probs = cache
    dlogits = probs.copy()
    for i in np.flatnonzero(token_weights):
        dlogits[i, targets[i]] -= 1
    dlogits *= dloss * token_weights[:, None]
    dx = dlogits @ weight
    dweight = dloss * (dlogits.T @ x)
    return dx, dweight
