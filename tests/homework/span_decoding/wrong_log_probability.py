# scratchgpt homework: span_decoding
# mistake score: score=log
import numpy as np


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def best_spans(starts, ends, context=None, longest=30):
    a, b = log_softmax(starts), log_softmax(ends)
    a, b = np.round(a, 12), np.round(b, 12)  # so that equal spans stay equal
    T = a.shape[1]
    sums = a[:, :, None] + b[:, None, :]
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    bad = (j < i) | (j >= i + longest)
    bad = np.repeat(bad[None], len(a), 0)
    if context is not None:
        bad |= (context[:, :, None] == 0) | (context[:, None, :] == 0)
    sums[bad] = -np.inf
    best = np.round(sums, 9).reshape(len(a), -1).argmax(1)
    return best // T, best % T, sums.max((1, 2))
