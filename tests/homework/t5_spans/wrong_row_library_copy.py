# scratchgpt homework: t5_spans/one_row
# mistake *: missing
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        inputs += [*ids[end:start], sentinel]
        end = start + length
        targets += [sentinel, *ids[start:end]]
    inputs += ids[end:]
    targets.append(sentinels[len(starts)])
    last = [] if eos is None else [eos]
    return inputs + last, targets + last


def fill_spans(inputs, targets, sentinels):
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in inputs for each in spans.get(token, [token])]
