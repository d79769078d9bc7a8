# scratchgpt homework: t5_spans
# mistake inputs: span=long
# mistake targets: span=long
# mistake restored: again=last
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, nxt = [], [], 0
    for start, length, mark in zip(starts, lengths, sentinels):
        stop = start + length
        inputs.extend(ids[nxt:start] + [mark])
        targets.extend([mark] + ids[start : stop + 1])  # up to and with stop
        nxt = stop + 1
    inputs.extend(ids[nxt:])
    targets.append(sentinels[len(starts)])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans, key = {}, None
    for token in targets:
        if token in sentinels:
            key = token
            spans[key] = []
        elif key is not None:
            spans[key].append(token)
    return [each for token in inputs for each in spans.get(token, [token])]
