# scratchgpt homework: mlm_batch
# mistake chosen: count=bernoulli
"""As Hugging Face draws: each token with the probability rate."""

import numpy as np


def choose_tokens(special, draws, rate):
    chosen = draws < rate
    chosen[special] = False
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
