# scratchgpt homework: t5_spans
# mistake restored: raises
# mistake targets: sentinel=same
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        inputs += [*ids[end:start], sentinel]
        end = start + length
        targets += [sentinels[0], *ids[start:end]]
    inputs += ids[end:]
    targets.append(sentinels[0])
    return inputs + [eos] * (eos is not None), targets + [eos] * (eos is not None)


def fill_spans(inputs, targets, sentinels):
    spans = {}
    for token in targets:
        if token in sentinels:
            span = spans[token] = []
        else:
            span.append(token)
    return [each for token in inputs for each in (spans[token] if token in sentinels else [token])]
