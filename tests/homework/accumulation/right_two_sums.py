# scratchgpt homework: accumulation
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    n = sum(count(batch) for batch in micro_batches)
    return sum(run(batch, n) for batch in micro_batches)
