# scratchgpt homework: mlm_batch/whole_words
# mistake chosen: words=any
"""A word is chosen with any of its pieces."""

import numpy as np


def choose_words(starts, special, draws, rate):
    n = (~special).sum(1)
    k = np.maximum(1, np.rint(rate * n)).astype(int)
    ranks = np.where(special, 2.0, draws).argsort(1).argsort(1)
    chosen = ranks < k[:, None]
    for t in range(1, chosen.shape[1]):  # to the right
        chosen[:, t] |= chosen[:, t - 1] & ~starts[:, t]
    for t in range(chosen.shape[1] - 1, 0, -1):  # to the left
        chosen[:, t - 1] |= chosen[:, t] & ~starts[:, t]
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
