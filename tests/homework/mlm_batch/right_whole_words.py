# scratchgpt homework: mlm_batch/whole_words
"""Lists of words."""

import numpy as np


def words_of(starts, special):
    words = []
    for t in range(len(starts)):
        if special[t]:
            continue
        if starts[t]:
            words.append([])
        words[-1].append(t)
    return words


def choose_words(starts, special, draws, rate):
    chosen = np.zeros(special.shape, dtype=bool)
    for b in range(special.shape[0]):
        words = words_of(starts[b], special[b])
        words.sort(key=lambda word: draws[b, word[0]])
        for word in words[: max(1, round(rate * len(words)))]:
            chosen[b, word] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    random = ordinary[(which * len(ordinary)).astype(int)]
    changed = np.select([action < 0.8, action < 0.9], [mask, random], ids)
    return np.where(chosen, changed, ids), np.where(chosen, ids, -100)
