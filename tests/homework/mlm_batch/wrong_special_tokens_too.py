# scratchgpt homework: mlm_batch
# mistake chosen: special=too
# mistake labels: value=-1
"""The draws of special tokens compete; another number than -100."""

import numpy as np


def choose_tokens(special, draws, rate):
    k = np.maximum(1, np.rint(rate * (special == 0).sum(axis=1, keepdims=True)))
    return np.argsort(np.argsort(draws, axis=1), axis=1) < k


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    input_ids = ids.copy()
    for b, t in zip(*np.nonzero(chosen)):
        if action[b, t] < 0.8:
            input_ids[b, t] = mask
        elif action[b, t] < 0.9:
            input_ids[b, t] = ordinary[int(which[b, t] * len(ordinary))]
    labels = ids.copy()
    labels[~chosen] = -1
    return input_ids, labels
