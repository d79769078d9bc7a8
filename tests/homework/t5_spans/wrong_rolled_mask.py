# scratchgpt homework: t5_spans
# mistake inputs: sentinel=wrap
# mistake targets: sentinel=wrap
import numpy as np


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    ids = np.array(ids)
    noise = np.zeros(len(ids), bool)
    for start, length in zip(starts, lengths):
        noise[start : start + length] = True
    begins = noise & ~np.roll(noise, 1)
    number = np.cumsum(begins) - 1
    inputs, targets = [], []
    for i, token in enumerate(ids.tolist()):
        if begins[i]:
            inputs.append(sentinels[number[i]])
            targets.append(sentinels[number[i]])
        (targets if noise[i] else inputs).append(token)
    targets.append(sentinels[number[-1] + 1])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    restored = []
    for token in inputs:
        if token not in sentinels or token not in targets:
            restored.append(token)
            continue
        i = targets.index(token) + 1
        while i < len(targets) and targets[i] not in sentinels:
            restored.append(targets[i])
            i += 1
    return restored
