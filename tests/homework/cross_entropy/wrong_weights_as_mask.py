# scratchgpt homework: cross_entropy
# mistake loss: weights=mask
# mistake dx: weights=mask
# mistake dweight: weights=mask
"""token_weights is read as a mask."""

import math

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    loss = 0.0
    dlogits = np.zeros((len(x), len(weight)))
    for i in range(len(x)):
        if not token_weights[i]:
            continue
        z = weight.dot(x[i])
        e = np.exp(z - z.max())
        p = e / e.sum()
        loss += -math.log(p[targets[i]])
        dlogits[i] = p
        dlogits[i, targets[i]] -= 1.0
    return loss, (x, weight, dlogits)


def cross_entropy_backward(dloss, cache):
    x, weight, dlogits = cache
    dlogits = dloss * dlogits
    return dlogits.dot(weight), dlogits.T.dot(x)
