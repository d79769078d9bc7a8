# scratchgpt homework: accumulation
# mistake targets: counted=positive
# mistake loss: counted=positive
# mistake gradient: counted=positive
def count_targets(labels):
    return sum(1 for row in labels.tolist() for label in row[1:] if label > 0)


def accumulate(micro_batches, count, run):
    targets = 0
    for batch in micro_batches:
        targets += count(batch)
    loss = 0.0
    for batch in micro_batches:
        loss += run(batch, targets)
    return loss
