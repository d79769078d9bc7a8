# scratchgpt homework: accumulation/means
# mistake targets: counted=positions
# mistake loss: weighting=rows
# mistake gradient: weighting=rows
def count_targets(labels):
    return labels[:, 1:].size


def accumulate_means(micro_batches, count, run):
    counts = [count(batch) for batch in micro_batches]
    return sum(run(batch, n / sum(counts)) for batch, n in zip(micro_batches, counts))
