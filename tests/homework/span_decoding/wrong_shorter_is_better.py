# scratchgpt homework: span_decoding
# mistake first: unknown
# mistake last: unknown
# mistake score: unknown
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    i, j = np.arange(T)[:, None], np.arange(T)
    sums = starts[:, :, None] + ends[:, None, :] - 0.5 * (j - i)  # a penalty for length
    sums = np.where((j >= i) & (j < i + longest), sums, -np.inf)
    if context is not None:
        sums = np.where((context[:, :, None] & context[:, None, :]) == 1, sums, -np.inf)
    best = sums.reshape(B, -1).argmax(1)
    return best // T, best % T, sums.max((1, 2))
