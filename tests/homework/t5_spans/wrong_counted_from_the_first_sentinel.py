# scratchgpt homework: t5_spans
# mistake inputs: sentinel=down
# mistake targets: sentinel=down
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    extra_id_0 = sentinels[0]
    inputs, targets, end = [], [], 0
    for number, (start, length) in enumerate(zip(starts, lengths)):
        sentinel = extra_id_0 - number  # T5's are 32099, 32098, ...
        inputs += ids[end:start] + [sentinel]
        end = start + length
        targets += [sentinel] + ids[start:end]
    inputs += ids[end:]
    targets += [extra_id_0 - len(starts)]
    if eos is not None:
        inputs, targets = inputs + [eos], targets + [eos]
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            if token not in spans:
                spans[token] = current
        else:
            current.append(token)
    restored = []
    for token in inputs:
        restored.extend(spans.get(token, [token]))
    return restored
