# scratchgpt homework: accumulation
# mistake loss: weighting=last
# mistake gradient: weighting=last
import numpy as np


def count_targets(labels):
    shifted = np.delete(labels, 0, axis=1)
    return np.sum(shifted != -100)


def accumulate(micro_batches, count, run):
    for batch in micro_batches:
        denominator = count(batch)
    loss = 0.0
    for batch in micro_batches:
        loss = loss + run(batch, denominator)
    return loss
