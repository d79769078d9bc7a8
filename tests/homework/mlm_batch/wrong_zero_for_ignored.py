# scratchgpt homework: mlm_batch
# mistake labels: value=0 + tokens=changed
"""Labels where something changed, 0 elsewhere."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    kinds = np.digitize(action, [0.8, 0.9])
    read = ids.copy()
    read[chosen & (kinds == 0)] = mask
    other = chosen & (kinds == 1)
    read[other] = ordinary[(which[other] * len(ordinary)).astype(int)]
    return read, ids * (read != ids)
