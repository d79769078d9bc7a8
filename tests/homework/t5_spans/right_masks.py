# scratchgpt homework: t5_spans
import numpy as np


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    ids = np.array(ids)
    span = np.full(len(ids), -1)  # which span a token belongs to
    for number, (start, length) in enumerate(zip(starts, lengths)):
        span[start : start + length] = number
    first = (span >= 0) & (np.concatenate([[-1], span[:-1]]) != span)
    marks = np.array(sentinels)
    inputs = np.where(first, marks[span], ids)[first | (span < 0)].tolist()
    targets = []
    for number in range(len(starts)):
        targets += [sentinels[number], *ids[span == number].tolist()]
    targets += [sentinels[len(starts)]]
    return (inputs, targets) if eos is None else ([*inputs, eos], [*targets, eos])


def fill_spans(inputs, targets, sentinels):
    sentinels = set(sentinels)
    restored = []
    for token in inputs:
        if token in sentinels and token in targets:
            at = targets.index(token) + 1
            while at < len(targets) and targets[at] not in sentinels:
                restored.append(targets[at])
                at += 1
        else:
            restored.append(token)
    return restored
