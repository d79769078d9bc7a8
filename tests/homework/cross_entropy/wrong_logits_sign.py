# scratchgpt homework: cross_entropy/logits
# mistake loss: whole:-1
# mistake dlogits: whole:-1
"""The log-likelihood: its maximum is wanted, so its sign is the other one."""

import numpy as np


def softmax_loss_forward(logits, targets, token_weights):
    log_total = np.logaddexp.reduce(logits, 1, keepdims=True)
    onehot = np.arange(logits.shape[1]) == np.where(token_weights == 0, 0, targets)[:, None]
    return (token_weights * (logits - log_total)[onehot]).sum(), (logits - log_total, onehot, token_weights)


def softmax_loss_backward(dloss, cache):
    log_probs, onehot, token_weights = cache
    return (onehot - np.exp(log_probs)) * token_weights[:, None] * dloss
