# scratchgpt homework: t5_spans
# mistake inputs: unknown
# mistake targets: unknown
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    spans = sorted(zip(lengths, starts))  # the shortest first
    names = {start: sentinels[i] for i, (_, start) in enumerate(spans)}
    inputs, targets, end = [], [], 0
    for start, length in zip(starts, lengths):
        inputs += ids[end:start] + [names[start]]
        end = start + length
    inputs += ids[end:]
    for length, start in spans:
        targets += [names[start]] + ids[start : start + length]
    targets += [sentinels[len(spans)]]
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
