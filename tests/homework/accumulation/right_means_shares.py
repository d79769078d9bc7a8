# scratchgpt homework: accumulation/means
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate_means(micro_batches, count, run):
    counts = [count(batch) for batch in micro_batches]
    return sum(run(batch, n / sum(counts)) for batch, n in zip(micro_batches, counts))
