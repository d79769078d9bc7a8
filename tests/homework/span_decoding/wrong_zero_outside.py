# scratchgpt homework: span_decoding
# mistake first: context=zero
# mistake last: context=zero
# mistake score: context=zero
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    sums = starts[:, :, None] + ends[:, None, :]
    if context is not None:
        sums = sums * context[:, :, None] * context[:, None, :]
    outside = np.triu(np.ones((T, T))) - np.triu(np.ones((T, T)), longest) == 0
    sums[:, outside] = -np.inf
    flat = sums.reshape(B, T * T)
    place = flat.argmax(1)
    return place // T, place % T, np.take_along_axis(flat, place[:, None], 1)[:, 0]
