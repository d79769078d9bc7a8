# scratchgpt homework: mlm_batch/whole_words
"""Every token takes the draw of its word; a sort of those of the first tokens gives the threshold."""

import numpy as np


def choose_words(starts, special, draws, rate):
    first = starts & ~special
    n = first.sum(1)
    k = np.maximum(1, np.rint(rate * n)).astype(int)
    ordered = np.sort(np.where(first, draws, 2.0), axis=1)
    threshold = ordered[np.arange(len(n)), k - 1]
    of_word = draws.copy()
    for t in range(1, draws.shape[1]):
        of_word[:, t] = np.where(starts[:, t], draws[:, t], of_word[:, t - 1])
    return (of_word <= threshold[:, None]) & ~special


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    out, labels = np.array(ids), np.where(chosen, ids, -100)
    for b, t in np.argwhere(chosen):
        if action[b, t] < 0.8:
            out[b, t] = mask
        elif action[b, t] < 0.9:
            out[b, t] = ordinary[int(len(ordinary) * which[b, t])]
    return out, labels
