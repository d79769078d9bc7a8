# scratchgpt homework: t5_spans
from itertools import groupby


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    hidden = {}
    for number, (start, length) in enumerate(zip(starts, lengths)):
        hidden.update(dict.fromkeys(range(start, start + length), number))

    inputs, targets = [], []
    for number, places in groupby(range(len(ids)), key=hidden.get):
        words = [ids[place] for place in places]
        if number is None:
            inputs.extend(words)
        else:
            inputs.append(sentinels[number])
            targets.append(sentinels[number])
            targets.extend(words)
    targets.append(sentinels[len(starts)])
    if eos is not None:
        inputs.append(eos)
        targets.append(eos)
    return inputs, targets


def fill_spans(inputs, targets, sentinels):
    spans, open_span = {}, None
    for token in targets:
        if token in sentinels:
            open_span = None if token in spans else token
            if open_span is not None:
                spans[token] = []
        elif open_span is not None:
            spans[open_span].append(token)
    out = []
    for token in inputs:
        out.extend(spans[token] if token in spans else [token])
    return out
