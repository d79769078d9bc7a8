# scratchgpt homework: t5_spans
# mistake targets: eos=before
# mistake restored: marks=next
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    def with_eos(row):
        return row if eos is None else [*row, eos]

    bounds = [(s, s + n) for s, n in zip(starts, lengths)]
    inputs, targets = [], []
    last = 0
    for (start, stop), mark in zip(bounds, sentinels):
        inputs = inputs + ids[last:start] + [mark]
        targets = targets + [mark] + ids[start:stop]
        last = stop
    return with_eos(inputs + ids[last:]), with_eos(targets) + [sentinels[len(bounds)]]


def fill_spans(inputs, targets, sentinels):
    restored = []
    for token in inputs:
        if token in sentinels and token in targets:
            start = targets.index(token) + 1
            stop = start
            while stop < len(targets) and targets[stop] not in sentinels:
                stop += 1
            restored += targets[start : stop + 1]
        else:
            restored.append(token)
    return restored
