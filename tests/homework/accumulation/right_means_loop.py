# scratchgpt homework: accumulation/means
def count_targets(labels):
    total = 0
    for row in labels:
        for label in row[1:]:
            if label != -100:
                total += 1
    return total


def accumulate_means(micro_batches, count, run):
    whole = 0
    for batch in micro_batches:
        whole += count(batch)
    loss = 0
    for batch in micro_batches:
        scale = count(batch) / whole
        loss = loss + run(batch, scale)
    return loss
