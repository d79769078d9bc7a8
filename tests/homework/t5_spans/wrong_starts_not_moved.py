# scratchgpt homework: t5_spans
# mistake inputs: span=moved
# mistake targets: span=moved
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs = list(ids)
    targets = []
    for i in range(len(starts)):
        s, e = starts[i], starts[i] + lengths[i]
        targets.append(sentinels[i])
        targets.extend(inputs[s:e])
        inputs[s:e] = [sentinels[i]]
    targets.append(sentinels[len(starts)])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in inputs for each in spans.get(token, [token])]
