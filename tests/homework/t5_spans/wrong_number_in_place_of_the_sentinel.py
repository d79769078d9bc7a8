# scratchgpt homework: t5_spans
# mistake inputs: sentinel=index
# mistake restored: again=joined
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, end = [], [], 0
    for i, (start, length) in enumerate(zip(starts, lengths)):
        inputs += ids[end:start]
        inputs.append(i)
        end = start + length
        targets.append(sentinels[i])
        targets += ids[start:end]
    inputs += ids[end:]
    targets.append(sentinels[len(starts)])
    return inputs + ([] if eos is None else [eos]), targets + ([] if eos is None else [eos])


def fill_spans(inputs, targets, sentinels):
    spans = {}
    key = None
    for token in targets:
        if token in sentinels:
            key = token
            spans.setdefault(key, [])
        elif key is not None:
            spans[key].append(token)
    restored = []
    for token in inputs:
        restored += spans.get(token, [token])
    return restored
