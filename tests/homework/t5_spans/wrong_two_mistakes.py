# scratchgpt homework: t5_spans
# mistake inputs: kept=head + eos=missing
# mistake targets: final=last + where=behind
# mistake restored: blanks=first
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets = [], []
    n = len(starts)
    for i in range(n):
        stop = starts[i] + lengths[i]
        following = starts[i + 1] if i + 1 < n else len(ids)
        inputs += [sentinels[i]] + ids[stop:following]
        targets += ids[starts[i] : stop] + [sentinels[i]]
    targets.append(sentinels[-1])
    if eos is not None:
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    for place, token in enumerate(inputs):
        if token in sentinels and token in targets:
            start = targets.index(token) + 1
            stop = start
            while stop < len(targets) and targets[stop] not in sentinels:
                stop += 1
            return inputs[:place] + targets[start:stop] + inputs[place + 1 :]
    return inputs[:]
