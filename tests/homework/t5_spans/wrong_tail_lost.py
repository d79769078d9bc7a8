# scratchgpt homework: t5_spans
# mistake inputs: kept=tail
# mistake restored: by=order
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets = [], []
    position = 0
    for i in range(len(starts)):
        while position < starts[i]:
            inputs.append(ids[position])
            position += 1
        inputs.append(sentinels[i])
        targets.append(sentinels[i])
        for _ in range(lengths[i]):
            targets.append(ids[position])
            position += 1
    targets.append(sentinels[len(starts)])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans = []
    for token in targets:
        if token in sentinels:
            spans.append([])
        elif spans:
            spans[-1].append(token)
    spans = iter(spans)
    restored = []
    for token in inputs:
        if token in sentinels:
            restored += next(spans, [token])
        else:
            restored.append(token)
    return restored
