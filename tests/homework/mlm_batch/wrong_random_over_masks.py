# scratchgpt homework: mlm_batch
# mistake input_ids: share=random over
"""The second line takes back what the first did."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    x = ids.copy()
    random = ordinary[(which * len(ordinary)).astype(int)]
    x[chosen & (action < 0.8)] = mask
    x = np.where(chosen & (action < 0.9), random, x)
    return x, np.where(chosen, ids, -100)
