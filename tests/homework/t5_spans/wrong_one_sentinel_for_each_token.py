# scratchgpt homework: t5_spans
# mistake inputs: sentinel=each
# mistake targets: sentinel=each
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    hidden = set()
    for start, length in zip(starts, lengths):
        hidden |= set(range(start, start + length))
    names = iter(sentinels)
    inputs, targets = [], []
    for place, token in enumerate(ids):
        if place in hidden:
            name = next(names)
            inputs.append(name)
            targets += [name, token]
        else:
            inputs.append(token)
    targets.append(next(names))
    end = [eos] if eos is not None else []
    return inputs + end, targets + end


def fill_spans(inputs, targets, sentinels):
    spans, last = {}, []
    for token in targets:
        if token in sentinels:
            last = []
            spans.setdefault(token, last)
        else:
            last.append(token)
    return sum((spans.get(token, [token]) for token in inputs), [])
