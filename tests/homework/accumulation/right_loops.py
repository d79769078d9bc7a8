# scratchgpt homework: accumulation
def count_targets(labels):
    total = 0
    for row in labels:
        for label in row[1:]:
            if label != -100:
                total += 1
    return total


def accumulate(micro_batches, count, run):
    targets = 0
    for batch in micro_batches:
        targets += count(batch)
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, targets)
    return loss
