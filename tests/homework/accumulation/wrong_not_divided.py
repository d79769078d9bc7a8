# scratchgpt homework: accumulation
# mistake loss: whole:N
# mistake gradient: whole:N
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    total = 0.0
    for batch in micro_batches:
        total += run(batch, 1)
    return total
