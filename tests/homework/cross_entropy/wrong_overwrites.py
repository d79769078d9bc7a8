# scratchgpt homework: cross_entropy
# mistake *: overwrites
"""Right numbers; the caller's targets are changed on the way."""

import numpy as np


def cross_entropy_forward(x, weight, targets, token_weights):
    targets[token_weights == 0] = 0
    logits = x @ weight.T
    logits -= logits.max(1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -(token_weights * log_probs[np.arange(len(x)), targets]).sum(), (
        x,
        weight,
        targets,
        token_weights,
        log_probs,
    )


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, log_probs = cache
    dlogits = np.exp(log_probs)
    dlogits[np.arange(len(x)), targets] -= 1
    dlogits *= dloss * token_weights[:, None]
    return dlogits @ weight, dlogits.T @ x
