# scratchgpt homework: t5_spans
# mistake inputs: type
# mistake targets: type
import numpy as np


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        inputs += [ids[end:start], [sentinel]]
        end = start + length
        targets += [[sentinel], ids[start:end]]
    inputs.append(ids[end:])
    targets.append([sentinels[len(starts)]])
    if eos is not None:
        inputs.append([eos])
        targets.append([eos])
    return np.concatenate(inputs), np.concatenate(targets)


def fill_spans(inputs, targets, sentinels):
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in inputs for each in spans.get(token, [token])]
