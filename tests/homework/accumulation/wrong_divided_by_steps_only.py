# scratchgpt homework: accumulation
# mistake loss: whole:N/K
# mistake gradient: whole:N/K
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, len(micro_batches))
    return loss
