# scratchgpt homework: mlm_batch/whole_words
# mistake chosen: count=tokens
# mistake input_ids: random=one
"""n is the number of tokens; one random token for all."""

import numpy as np


def choose_words(starts, special, draws, rate):
    chosen = np.zeros(starts.shape, bool)
    for b in range(len(starts)):
        word = np.cumsum(starts[b])
        first = [t for t in range(starts.shape[1]) if starts[b, t] and not special[b, t]]
        n = np.count_nonzero(~special[b])
        for t in sorted(first, key=lambda t: draws[b, t])[: max(1, round(rate * n))]:
            chosen[b] |= word == word[t]
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    token = ordinary[int(which[0, 0] * len(ordinary))]
    read = np.select([action < 0.8, action < 0.9], [mask, token], ids)
    return np.where(chosen, read, ids), np.where(chosen, ids, -100)
