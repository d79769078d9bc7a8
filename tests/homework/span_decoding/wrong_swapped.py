# scratchgpt homework: span_decoding
# mistake first: pairs=swapped
# mistake last: pairs=swapped
# mistake score: pairs=swapped
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    starts, ends = starts.copy(), ends.copy()
    if context is not None:
        starts[context == 0] = ends[context == 0] = -1e9
    first, last = np.argmax(starts, -1), np.argmax(ends, -1)
    wrong = last < first
    first[wrong], last[wrong] = last[wrong], first[wrong]
    rows = range(len(starts))
    return first, last, starts[rows, first] + ends[rows, last]
