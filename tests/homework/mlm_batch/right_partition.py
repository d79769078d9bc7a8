# scratchgpt homework: mlm_batch
"""A threshold for each row, and numbers in the place of conditions."""

import numpy as np


def choose_tokens(special, draws, rate):
    out = np.zeros_like(special)
    for row, hidden, keys in zip(out, special, draws):
        (places,) = np.nonzero(~hidden)
        k = max(1, int(np.rint(rate * places.size)))
        row[places[np.argpartition(keys[places], k - 1)[:k]]] = True
    return out


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    kind = np.where(chosen, np.searchsorted([0.8, 0.9], action, side="right"), 2)
    random = np.take(ordinary, (which * ordinary.size).astype(int))
    return np.choose(kind, [np.full_like(ids, mask), random, ids]), ids * chosen - 100 * ~chosen
