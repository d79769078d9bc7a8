# scratchgpt homework: accumulation
# mistake loss: kept=skip last
# mistake gradient: kept=skip last
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    n = sum(count(batch) for batch in micro_batches)
    loss = 0.0
    for i in range(len(micro_batches) - 1):
        loss += run(micro_batches[i], n)
    return loss
