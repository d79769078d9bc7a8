# scratchgpt homework: mlm_batch
"""Token by token."""

import numpy as np


def choose_tokens(special, draws, rate):
    chosen = np.zeros(special.shape, bool)
    for b, row in enumerate(special):
        places = [t for t, is_special in enumerate(row) if not is_special]
        k = max(1, round(rate * len(places)))
        for t in sorted(places, key=lambda t: draws[b, t])[:k]:
            chosen[b, t] = True
    return chosen


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    input_ids, labels = [], []
    for b in range(len(ids)):
        read, said = [], []
        for t, token in enumerate(ids[b]):
            if not chosen[b, t]:
                read.append(token)
                said.append(-100)
                continue
            said.append(token)
            if action[b, t] < 0.8:
                read.append(mask)
            elif action[b, t] < 0.9:
                read.append(ordinary[int(which[b, t] * len(ordinary))])
            else:
                read.append(token)
        input_ids.append(read)
        labels.append(said)
    return np.array(input_ids), np.array(labels)
