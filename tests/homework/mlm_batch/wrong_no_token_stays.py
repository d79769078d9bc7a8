# scratchgpt homework: mlm_batch
# mistake input_ids: share=no kept
# mistake labels: value=0
"""No token stays as it is, and 0 stands where there is no label."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(chosen, np.where(action < 0.8, mask, random), ids)
    return read, np.where(chosen, ids, 0)
