# scratchgpt homework: mlm_batch
# mistake input_ids: random=action + share=stay first
# mistake labels: shape
"""A list of labels, as in BERT's own records; one draw for everything."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    read = ids.copy()
    rows, places = np.nonzero(chosen)
    for b, t in zip(rows, places):
        u = action[b, t]
        if u < 0.1:
            continue
        read[b, t] = ordinary[int(u * len(ordinary))] if u < 0.2 else mask
    return read, ids[rows, places]
