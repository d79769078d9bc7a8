# scratchgpt homework: accumulation
# mistake loss: whole:1/K
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    n = sum(map(count, micro_batches))
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, n) / len(micro_batches)
    return loss
