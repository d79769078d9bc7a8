# scratchgpt homework: mlm_batch
# mistake chosen: which=first
# mistake input_ids: random=round + share=random first
"""The first tokens of a row; a random one comes first."""

import numpy as np


def choose_tokens(special, draws, rate):
    ordinary = ~special
    counts = np.maximum(1, np.round(rate * ordinary.sum(axis=1, keepdims=True)))
    return ordinary & (np.cumsum(ordinary, axis=1) <= counts)


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[np.rint(which * (len(ordinary) - 1)).astype(int)]
    read = np.where(action < 0.1, random, np.where(action < 0.9, mask, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
