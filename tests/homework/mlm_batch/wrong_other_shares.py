# scratchgpt homework: mlm_batch
# mistake input_ids: unknown
# mistake labels: tokens=others
"""70/20/10; the labels of the others."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.7, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, -100, ids)
