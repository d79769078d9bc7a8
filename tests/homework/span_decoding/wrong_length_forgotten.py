# scratchgpt homework: span_decoding
# mistake first: longest=none
# mistake last: longest=none
# mistake score: longest=none
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    if context is not None:
        hidden = np.where(context, 0.0, -np.inf)
        starts, ends = starts + hidden, ends + hidden
    # the best end at or behind each place, from the right
    behind = np.maximum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    sums = starts + behind
    first = sums.argmax(1)
    last = []
    for row, i in enumerate(first):
        last.append(i + ends[row, i:].argmax())
    return first, np.array(last), sums.max(1)
