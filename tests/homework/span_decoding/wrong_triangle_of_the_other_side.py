# scratchgpt homework: span_decoding
# mistake first: pairs=backwards
# mistake last: pairs=backwards
# mistake score: pairs=backwards
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    band = np.tril(np.ones((T, T))) - np.tril(np.ones((T, T)), -longest)
    ok = band[None] * np.ones((B, 1, 1))
    if context is not None:
        ok = ok * context[:, :, None] * context[:, None, :]
    sums = starts[:, :, None] + ends[:, None, :]
    sums[ok == 0] = -np.inf
    place = sums.reshape(B, T * T).argmax(axis=1)
    first, last = np.divmod(place, T)
    return first, last, sums.reshape(B, T * T).max(axis=1)
