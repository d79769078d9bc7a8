# scratchgpt homework: accumulation
# mistake loss: weighting=running
# mistake gradient: weighting=running
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    seen, loss = 0, 0.0
    for batch in micro_batches:
        seen += count(batch)
        loss += run(batch, seen)
    return loss
