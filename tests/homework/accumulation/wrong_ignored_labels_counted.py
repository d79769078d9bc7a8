# scratchgpt homework: accumulation
# mistake targets: counted=positions
# mistake loss: counted=positions
# mistake gradient: counted=positions
def count_targets(labels):
    rows, T = labels.shape
    return rows * (T - 1)


def accumulate(micro_batches, count, run):
    targets = 0
    for batch in micro_batches:
        targets += count(batch)
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, targets)
    return loss
