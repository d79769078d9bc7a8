# scratchgpt homework: mlm_batch
# mistake labels: value=after
# mistake *: overwrites
"""The ids are changed themselves, and the labels made of them."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    swap = chosen & (action >= 0.8) & (action < 0.9)
    ids[chosen & (action < 0.8)] = mask
    ids[swap] = ordinary[(which * len(ordinary)).astype(int)][swap]
    labels = np.where(chosen, ids, -100)
    return ids.copy(), labels
