# scratchgpt homework: accumulation
# mistake loss: counted=all
# mistake gradient: counted=all
import numpy as np


def count_targets(labels):
    shifted = np.delete(labels, 0, axis=1)
    return np.sum(shifted != -100)


def accumulate(micro_batches, count, run):
    n = sum(batch["labels"].size for batch in micro_batches)
    return sum(run(batch, n) for batch in micro_batches)
