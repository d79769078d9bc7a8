# scratchgpt homework: mlm_batch
# mistake input_ids: share=no random
# mistake labels: tokens=masked
"""A draw below 0.8 is not asked again whether it is below 0.1."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    input_ids, labels = ids.copy(), np.full(ids.shape, -100)
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            if not chosen[b, t]:
                continue
            if action[b, t] < 0.8:
                labels[b, t] = ids[b, t]
                input_ids[b, t] = mask
            elif action[b, t] < 0.1:
                input_ids[b, t] = ordinary[int(which[b, t] * len(ordinary))]
    return input_ids, labels
