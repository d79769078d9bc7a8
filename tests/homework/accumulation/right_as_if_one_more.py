# scratchgpt homework: accumulation
import numpy as np


def count_targets(labels):
    shifted = np.delete(labels, 0, axis=1)
    return np.sum(shifted != -100)


def accumulate(micro_batches, count, run):
    counts = np.array([count(batch) for batch in micro_batches])
    shares = counts / counts.sum()
    # a share of the mean over its own targets: run divides by its own count over its share
    return float(np.sum([run(batch, n / share) for batch, n, share in zip(micro_batches, counts, shares)]))
