# scratchgpt homework: mlm_batch
# mistake input_ids: random=size
# mistake labels: tokens=everywhere
"""Random ids up to the largest; a label for every token."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    vocab_size = ordinary.max() + 1
    read = ids.copy()
    read[chosen & (action < 0.8)] = mask
    hit = chosen & (action >= 0.8) & (action < 0.9)
    read[hit] = np.floor(which[hit] * vocab_size)
    return read, ids.copy()
