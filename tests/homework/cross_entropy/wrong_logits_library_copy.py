# scratchgpt homework: cross_entropy/logits
# mistake *: signature
"""The code of the exercise with the head, under the names of this one."""

import numpy as np


def softmax_loss_forward(x, weight, targets, token_weights):
    logits = x @ weight.T
    log_probs = logits - np.logaddexp.reduce(logits, 1, keepdims=True)
    targets = np.where(token_weights == 0, 0, targets)
    loss = -(token_weights * log_probs[np.arange(len(x)), targets]).sum()
    return loss, (x, weight, targets, token_weights, log_probs)


def softmax_loss_backward(dloss, cache):
    x, weight, targets, token_weights, log_probs = cache
    dlogits = np.exp(log_probs)
    dlogits[np.arange(len(x)), targets] -= 1
    dlogits *= dloss * token_weights[:, None]
    return dlogits @ weight, dlogits.T @ x
