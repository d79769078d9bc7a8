# scratchgpt homework: span_decoding
# mistake first: pairs=any order
# mistake last: pairs=any order
# mistake score: pairs=any order
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    sums = starts[:, :, None] + ends[:, None, :]
    i, j = np.indices((T, T))
    sums = np.where(j - i < longest, sums, -np.inf)
    if context is not None:
        sums = np.where(np.einsum("bi,bj->bij", context, context) > 0, sums, -np.inf)
    flat = sums.reshape(B, -1)
    best = flat.argmax(1)
    return best // T, best % T, flat.max(1)
