# scratchgpt homework: accumulation/means
# mistake loss: weighting=count
# mistake gradient: weighting=count
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate_means(micro_batches, count, run):
    denominator = sum(count(batch) for batch in micro_batches)  # of all: every target weighs the same
    loss = 0.0
    for batch in micro_batches:
        loss = loss + run(batch, denominator)
    return loss
