# scratchgpt homework: mlm_batch
# mistake input_ids: random=order
"""As many draws as there are tokens to replace, from the first on."""

import numpy as np


def choose_tokens(special, draws, rate):
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)
    keys = np.where(special, np.inf, draws)
    return keys <= np.sort(keys, 1)[np.arange(len(keys)), counts - 1][:, None]


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    input_ids = ids.copy()
    labels = np.where(chosen, ids, -100)
    input_ids[chosen & (action < 0.8)] = mask
    random = chosen & (action >= 0.8) & (action < 0.9)
    numbers = iter(which.flatten())
    for place in np.argwhere(random):
        input_ids[tuple(place)] = ordinary[int(next(numbers) * len(ordinary))]
    return input_ids, labels
