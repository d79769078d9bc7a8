# scratchgpt homework: cross_entropy
# mistake loss: raises
# mistake dx: raises
# mistake dweight: raises
"""-100 is used as an index."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    logits = x @ weight.T
    logits = logits - logits.max(1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    losses = -log_probs[np.arange(len(x)), targets]
    return (losses * token_weights).sum(), (x, weight, targets, token_weights, log_probs)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, log_probs = cache
    dlogits = np.exp(log_probs)
    dlogits[np.arange(len(x)), targets] -= 1
    dlogits *= dloss * token_weights[:, None]
    return dlogits @ weight, dlogits.T @ x
