# scratchgpt homework: mlm_batch
# mistake chosen: rounding=less
"""Strictly below the threshold, which is one of the draws."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    threshold = np.take_along_axis(np.sort(keys, axis=1), counts[:, None] - 1, axis=1)
    return keys < threshold


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
