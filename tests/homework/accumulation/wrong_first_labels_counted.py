# scratchgpt homework: accumulation
# mistake targets: counted=unshifted
# mistake loss: counted=unshifted
# mistake gradient: counted=unshifted
import numpy as np

IGNORED = -100


def count_targets(labels):
    return np.sum(labels != IGNORED)


def accumulate(micro_batches, count, run):
    n = sum(count(batch) for batch in micro_batches)
    return sum(run(batch, n) for batch in micro_batches)
