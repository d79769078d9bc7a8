# scratchgpt homework: cross_entropy
# mistake loss: softmax=axis 0
# mistake dx: softmax=axis 0
# mistake dweight: softmax=axis 0
"""A softmax over the first axis."""

import numpy as np


def softmax(z, axis=0):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def cross_entropy_forward(x, weight, targets, token_weights):
    probs = softmax(np.matmul(x, weight.T))
    targets = np.where(token_weights, targets, 0)
    picked = np.array([row[t] for row, t in zip(probs, targets)])
    return -np.dot(token_weights, np.log(picked)), (x, weight, targets, token_weights, probs)


def cross_entropy_backward(dloss, cache):
    x, weight, targets, token_weights, probs = cache
    d = dloss * np.diag(token_weights) @ (probs - np.eye(len(weight))[targets])
    return np.matmul(d, weight), np.matmul(d.T, x)
