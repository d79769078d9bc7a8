# scratchgpt homework: span_decoding
# mistake first: counted=context
# mistake last: counted=context
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    rows = []
    for b in range(len(starts)):
        s, e = starts[b], ends[b]
        if context is not None:
            s, e = s[context[b] == 1], e[context[b] == 1]
        sums = np.add.outer(s, e)
        i, j = np.indices(sums.shape)
        sums[(j < i) | (j - i >= longest)] = -np.inf
        at = sums.argmax()
        rows.append((at // len(s), at % len(s), sums.max()))
    first, last, score = zip(*rows)
    return np.array(first), np.array(last), np.array(score)
