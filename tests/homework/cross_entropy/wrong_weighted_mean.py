# scratchgpt homework: cross_entropy
# mistake loss: whole:1/sum(token_weights)
# mistake dx: dloss=missing
# mistake dweight: dloss=missing
"""The loss is PyTorch's weighted mean; dloss never comes in."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    z = np.einsum("nc,vc->nv", x, weight)
    log_total = np.logaddexp.reduce(z, axis=-1)
    safe = np.clip(targets, 0, None)
    loss = np.average(log_total - z[np.arange(len(z)), safe], weights=token_weights)
    return loss, (x, weight, safe, token_weights, z - log_total[:, None])


def cross_entropy_backward(dloss, cache):
    x, weight, safe, token_weights, log_probs = cache
    onehot = np.zeros_like(log_probs)
    onehot[np.arange(len(safe)), safe] = 1
    dlogits = (np.exp(log_probs) - onehot) * token_weights[:, np.newaxis]
    return np.einsum("nv,vc->nc", dlogits, weight), np.einsum("nv,nc->vc", dlogits, x)
