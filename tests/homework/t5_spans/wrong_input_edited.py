# scratchgpt homework: t5_spans
# mistake *: overwrites
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    tail = [] if eos is None else [eos]
    targets = []
    for i, (start, length) in enumerate(zip(starts, lengths)):
        targets += [sentinels[i]] + ids[start : start + length]
    targets += [sentinels[len(starts)]] + tail
    while starts:  # the last one first, so that the others stay in place
        start, length = starts.pop(), lengths.pop()
        ids[start : start + length] = [sentinels[len(starts)]]
    return ids + tail, targets


def fill_spans(inputs, targets, sentinels):
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in inputs for each in spans.get(token, [token])]
