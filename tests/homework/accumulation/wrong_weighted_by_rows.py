# scratchgpt homework: accumulation
# mistake loss: weighting=rows
# mistake gradient: weighting=rows
def count_targets(labels):
    return int((labels[:, 1:] != -100).sum())


def accumulate(micro_batches, count, run):
    sizes = [len(batch["input_ids"]) for batch in micro_batches]
    loss = 0.0
    for batch, size in zip(micro_batches, sizes):
        share = size / sum(sizes)
        loss += run(batch, count(batch) / share)
    return loss
