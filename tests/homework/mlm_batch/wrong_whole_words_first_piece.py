# scratchgpt homework: mlm_batch/whole_words
# mistake chosen: words=first
# mistake labels: value=100
"""Only the first piece of a word; 100 with no minus."""

import numpy as np


def choose_words(starts, special, draws, rate):
    chosen = np.zeros(starts.shape, bool)
    for b in range(len(starts)):
        places = np.flatnonzero(starts[b] & ~special[b])
        k = max(1, round(rate * len(places)))
        chosen[b, places[np.argsort(draws[b, places])[:k]]] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(chosen & (action < 0.8), mask, ids)
    read = np.where(chosen & (action >= 0.8) & (action < 0.9), random, read)
    return read, np.where(chosen, ids, 100)
