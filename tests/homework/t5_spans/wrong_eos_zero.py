# scratchgpt homework: t5_spans
# mistake inputs: eos=zero
# mistake targets: eos=zero
# mistake restored: unsaid=dropped
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    inputs, targets, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        inputs += [*ids[end:start], sentinel]
        end = start + length
        targets += [sentinel, *ids[start:end]]
    inputs += ids[end:]
    targets.append(sentinels[len(starts)])
    if eos:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    from collections import defaultdict

    spans, seen, current = defaultdict(list), set(), None
    for token in targets:
        if token in sentinels:
            current = None if token in seen else token
            seen.add(token)
        elif current is not None:
            spans[current].append(token)
    out = []
    for token in inputs:
        if token in sentinels:
            out += spans[token]
        else:
            out.append(token)
    return out
