# scratchgpt homework: mlm_batch/whole_words
# mistake chosen: words=pieces
"""Tokens as the library chooses them, words or not."""

import numpy as np


def choose_words(starts, special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.take_along_axis(np.sort(keys, -1), counts[:, None] - 1, -1)


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
