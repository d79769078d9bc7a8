# scratchgpt homework: span_decoding
# mistake last: counted=behind
# mistake score: score=start
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    allowed = np.array([[0 <= j - i < longest for j in range(T)] for i in range(T)])
    sums = np.where(allowed, starts[:, :, None] + ends[:, None], -np.inf)
    if context is not None:
        sums = np.where((context[:, :, None] * context[:, None]) == 1, sums, -np.inf)
    first, last = np.unravel_index(sums.reshape(B, -1).argmax(1), (T, T))
    return first, last + 1, starts[np.arange(B), first]
