# scratchgpt homework: accumulation
# mistake loss: whole:1/K
# mistake gradient: whole:1/K
def count_targets(labels):
    total = 0
    for row in labels:
        for label in row[1:]:
            if label != -100:
                total += 1
    return total


def accumulate(micro_batches, count, run):
    steps = len(micro_batches)
    targets = sum([count(batch) for batch in micro_batches])
    return sum([run(batch, targets * steps) for batch in micro_batches])
