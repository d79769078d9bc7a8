# scratchgpt homework: mlm_batch
# mistake chosen: count=all + rate=0.15
"""n is the length of the row, the rate a constant."""

import numpy as np

MLM_PROBABILITY = 0.15


def choose_tokens(special, draws, rate):
    B, T = special.shape
    n_to_mask = max(1, round(T * MLM_PROBABILITY))
    chosen = np.zeros((B, T), dtype=bool)
    for b in range(B):
        candidates = np.flatnonzero(~special[b])
        order = np.argsort(draws[b, candidates])
        chosen[b, candidates[order[:n_to_mask]]] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
