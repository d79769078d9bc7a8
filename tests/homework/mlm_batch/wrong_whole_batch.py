# scratchgpt homework: mlm_batch
# mistake chosen: count=batch
"""One threshold for the whole batch."""

import numpy as np


def choose_tokens(special, draws, rate):
    keys = np.where(special, 1.0, draws)
    k = max(1, round(rate * np.count_nonzero(~special)))
    threshold = np.partition(keys.ravel(), k - 1)[k - 1]
    return keys <= threshold


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
