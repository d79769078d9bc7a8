# scratchgpt homework: span_decoding
# mistake first: ties=short
# mistake last: ties=short
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    starts, ends = starts.copy(), ends.copy()
    if context is not None:
        starts[context == 0], ends[context == 0] = -np.inf, -np.inf
    B, T = starts.shape
    best = np.full(B, -np.inf)
    first = np.zeros(B, int)
    last = np.zeros(B, int)
    for length in range(1, longest + 1):
        if length > T:
            break
        sums = starts[:, : T - length + 1] + ends[:, length - 1 :]
        i = sums.argmax(1)
        value = sums.max(1)
        better = value > best
        best[better], first[better], last[better] = value[better], i[better], (i + length - 1)[better]
    return first, last, best
