# scratchgpt homework: span_decoding/no_answer
# mistake first: null=added
# mistake last: null=added
# mistake margin: margin=score
import numpy as np


def best_spans_or_none(starts, ends, context, longest, threshold):
    B, T = starts.shape
    lag = np.arange(T) - np.arange(T)[:, None]
    sums = np.where((lag >= 0) & (lag < longest), starts[:, :, None] + ends[:, None, :], -np.inf)
    if context is not None:
        sums = np.where(context[:, :, None] * context[:, None, :] == 0, -np.inf, sums)
    best = sums.reshape(B, T * T).argmax(1)
    score = sums.max((1, 2))
    null = starts[:, 0] + ends[:, 0]
    none = null >= score + threshold
    return np.where(none, 0, best // T), np.where(none, 0, best % T), score
