# scratchgpt homework: accumulation
# mistake loss: weighting=own
# mistake gradient: weighting=own
def count_targets(labels):
    total = 0
    for row in labels:
        for label in row[1:]:
            if label != -100:
                total += 1
    return total


def accumulate(micro_batches, count, run):
    return sum(run(batch, count(batch)) for batch in micro_batches)
