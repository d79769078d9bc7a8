# scratchgpt homework: accumulation
# mistake targets: counted=left
# mistake loss: counted=left
# mistake gradient: counted=left
import numpy as np


def count_targets(labels):
    return int(np.where(labels[:, :-1] == -100, 0, 1).sum())


def accumulate(micro_batches, count, run):
    n = sum(count(batch) for batch in micro_batches)
    return sum(run(batch, n) for batch in micro_batches)
