# scratchgpt homework: accumulation
# mistake loss: unknown
# mistake gradient: unknown
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    n = max(count(batch) for batch in micro_batches) * len(micro_batches) + 1
    return sum(run(batch, n) for batch in micro_batches)
