# scratchgpt homework: cross_entropy/logits
# mistake loss: softmax=raw
# mistake dlogits: one-hot:0 + softmax:1/n_counted
"""The loss of the raw logits; a gradient of the softmax alone, averaged over the counted rows."""

import numpy as np


def softmax_loss_forward(logits, targets, token_weights):
    picked = logits[np.arange(len(logits)), np.maximum(targets, 0)]
    return -(token_weights * picked).sum(), (logits, token_weights)


def softmax_loss_backward(dloss, cache):
    logits, token_weights = cache
    e = np.exp(logits - logits.max(1, keepdims=True))
    probs = e / e.sum(1, keepdims=True)
    return dloss * token_weights[:, None] * probs / np.count_nonzero(token_weights)
