# scratchgpt homework: mlm_batch
# mistake input_ids: where=everywhere
"""The 80/10/10 of all tokens."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    labels = ids.copy()
    labels[np.logical_not(chosen)] = -100
    random = ordinary[(which * len(ordinary)).astype(int)]
    return np.where(action < 0.8, mask, np.where(action < 0.9, random, ids)), labels
