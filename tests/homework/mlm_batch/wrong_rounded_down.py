# scratchgpt homework: mlm_batch
# mistake chosen: rounding=floor + least=none
"""int(), and rows in which nothing is chosen."""

import numpy as np


def choose_tokens(special, draws, rate):
    chosen = np.zeros_like(special)
    for b in range(len(special)):
        ordinary = [t for t in range(special.shape[1]) if not special[b, t]]
        ordinary.sort(key=lambda t: draws[b, t])
        chosen[b, ordinary[: int(rate * len(ordinary))]] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    read = np.where(action < 0.8, mask, np.where(action < 0.9, random, ids))
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
