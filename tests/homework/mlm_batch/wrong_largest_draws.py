# scratchgpt homework: mlm_batch
# mistake chosen: which=largest + rounding=ceil
"""Sorted the wrong way, rounded up."""

import numpy as np


def choose_tokens(special, draws, rate):
    keys = np.where(special, -1, draws)
    order = np.argsort(keys, axis=-1)[:, ::-1]
    counts = np.ceil(rate * (~special).sum(-1)).astype(int)
    chosen = np.zeros(special.shape, bool)
    for row, places, count in zip(chosen, order, counts):
        row[places[:count]] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
