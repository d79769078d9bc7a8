# scratchgpt homework: accumulation
# mistake loss: weighting=means
# mistake gradient: weighting=own
import numpy as np


def count_targets(labels):
    shifted = np.delete(labels, 0, axis=1)
    return np.sum(shifted != -100)


def accumulate(micro_batches, count, run):
    losses = []
    for batch in micro_batches:
        losses.append(run(batch, count(batch)))
    return float(np.mean(losses))
