# scratchgpt homework: span_decoding
# mistake first: pairs=strict + context=none
# mistake last: pairs=strict + context=none
# mistake score: pairs=strict + context=none
import itertools

import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    T = starts.shape[1]
    spans = [(i, j) for i, j in itertools.combinations(range(T), 2) if j - i < longest]
    i, j = np.array(spans).T
    scores = starts[:, i] + ends[:, j]
    best = scores.argmax(1)
    return i[best], j[best], scores.max(1)
