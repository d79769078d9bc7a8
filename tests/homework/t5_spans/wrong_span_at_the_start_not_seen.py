# scratchgpt homework: t5_spans
# mistake inputs: sentinel=edge
# mistake targets: sentinel=edge
# mistake restored: empty=stays
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    noise = [0] * len(ids)
    for start, length in zip(starts, lengths):
        for i in range(start, start + length):
            noise[i] = 1
    inputs, targets, used = [], [], 0
    for i in range(len(ids)):
        if noise[i] and i > 0 and not noise[i - 1]:
            inputs.append(sentinels[used])
            targets.append(sentinels[used])
            used += 1
        if noise[i]:
            targets.append(ids[i])
        else:
            inputs.append(ids[i])
    targets.append(sentinels[used])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans = {}
    current = None
    for token in targets:
        if token in sentinels:
            current = token if token not in spans else "again"
            spans[current] = []
        elif current is not None:
            spans[current].append(token)
    out = []
    for token in inputs:
        if spans.get(token):
            out += spans[token]
        else:
            out.append(token)
    return out
