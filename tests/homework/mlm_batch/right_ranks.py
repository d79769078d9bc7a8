# scratchgpt homework: mlm_batch
import numpy as np


def choose_tokens(special, draws, rate):
    n = np.sum(~special, axis=1)
    k = np.maximum(1, np.round(n * rate))
    keys = draws + 2 * special  # special tokens last
    rank = keys.argsort(axis=1).argsort(axis=1)
    return rank < k[:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    input_ids = ids.copy()
    labels = np.full_like(ids, -100)
    labels[chosen] = ids[chosen]
    input_ids[chosen & (action < 0.8)] = mask
    random = chosen & (action >= 0.8) & (action < 0.9)
    input_ids[random] = ordinary[np.floor(which[random] * len(ordinary)).astype(np.int64)]
    return input_ids, labels
