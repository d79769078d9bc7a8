# scratchgpt homework: mlm_batch
# mistake chosen: special=alone
# mistake input_ids: share=mask alone
"""A ~ forgotten; nothing but [MASK]."""

import numpy as np


def choose_tokens(special, draws, rate):
    out = []
    for is_special, row in zip(special, draws):
        places = np.where(is_special)[0]
        k = max(1, round(rate * len(places)))
        best = places[np.argsort(row[places])][:k]
        out.append([t in best for t in range(len(row))])
    return np.array(out)


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    return np.where(chosen, mask, ids), np.where(chosen, ids, -100)
