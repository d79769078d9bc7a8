# scratchgpt homework: accumulation/means
# mistake loss: weighting=means
# mistake gradient: weighting=means
def count_targets(labels):
    total = 0
    for row in labels:
        for label in row[1:]:
            if label != -100:
                total += 1
    return total


def accumulate_means(micro_batches, count, run):
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, 1 / len(micro_batches))
    return loss
