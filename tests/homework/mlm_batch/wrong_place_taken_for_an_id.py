# scratchgpt homework: mlm_batch
# mistake input_ids: random=index
"""A place in ordinary is no id."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random_words = (which * len(ordinary)).astype(ids.dtype)
    masked = chosen & (action < 0.8)
    replaced = chosen & ~masked & (action < 0.9)
    read = np.select([masked, replaced], [mask, random_words], default=ids)
    labels = np.where(masked | replaced | chosen, ids, -100)
    return read, labels
