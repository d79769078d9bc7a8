# scratchgpt homework: span_decoding
# mistake first: raises
# mistake last: raises
# mistake score: raises
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    inside = context.astype(bool)
    s, e = np.where(inside, starts, -np.inf), np.where(inside, ends, -np.inf)
    B, T = s.shape
    near = np.subtract.outer(range(T), range(T))
    sums = np.where((near <= 0) & (near > -longest), s[:, :, None] + e[:, None, :], -np.inf)
    best = sums.reshape(B, -1).argmax(1)
    return best // T, best % T, sums.max((1, 2))
