# scratchgpt homework: span_decoding
# mistake first: pairs=start first
# mistake last: pairs=end first
# mistake score: pairs=apart
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    if context is not None:
        starts = np.where(context == 1, starts, -np.inf)
        ends = np.where(context == 1, ends, -np.inf)
    first, last = starts.argmax(axis=1), ends.argmax(axis=1)
    return first, last, starts.max(axis=1) + ends.max(axis=1)
