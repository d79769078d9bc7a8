# scratchgpt homework: mlm_batch/whole_words
# mistake input_ids: where=others
"""masked_fill of all but the chosen."""

import numpy as np


def choose_words(starts, special, draws, rate):
    first = starts & ~special
    counts = np.maximum(1, np.rint(rate * first.sum(1))).astype(int)
    keys = np.where(first, draws, np.inf)
    hit = keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]
    word = np.cumsum(starts, 1)
    return (hit[:, :, None] & (word[:, :, None] == word[:, None, :])).any(1)


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, ids, read), np.where(chosen, ids, -100)
