# scratchgpt homework: mlm_batch
# mistake input_ids: raises
# mistake labels: raises
"""which * V is no whole number."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[np.floor(which * len(ordinary))]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
