# scratchgpt homework: accumulation
# mistake gradient: whole:2
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    n = sum(count(batch) for batch in micro_batches)
    for batch in micro_batches:
        run(batch, n)  # for the gradient
    return sum(run(batch, n) for batch in micro_batches)  # for the loss
