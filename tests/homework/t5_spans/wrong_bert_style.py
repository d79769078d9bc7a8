# scratchgpt homework: t5_spans
# mistake inputs: sentinel=tokens
# mistake targets: what=whole
# mistake restored: words=first
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs = list(ids)
    for i, (start, length) in enumerate(zip(starts, lengths)):
        inputs[start : start + length] = [sentinels[i]] * length
    targets = list(ids)
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    out = []
    for token in inputs:
        if token in sentinels and token in targets:
            i = targets.index(token)
            out += [t for t in targets[i + 1 : i + 2] if t not in sentinels]
        else:
            out.append(token)
    return out
