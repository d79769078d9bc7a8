# scratchgpt homework: accumulation
# mistake targets: counted=unshifted
# mistake loss: counted=unshifted + weighting=means
# mistake gradient: counted=unshifted + weighting=means
import numpy as np


def count_targets(labels):
    return int(np.not_equal(labels, -100).sum())


def accumulate(micro_batches, count, run):
    steps = len(micro_batches)
    losses = [run(batch, count(batch) * steps) for batch in micro_batches]
    return sum(losses)
