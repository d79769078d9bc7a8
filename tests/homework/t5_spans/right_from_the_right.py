# scratchgpt homework: t5_spans
def hide_spans(ids, starts, lengths, sentinels, eos=None):
    text = ids[:]
    end = [] if eos is None else [eos]
    targets = [sentinels[len(starts)]] + end
    for i in reversed(range(len(starts))):  # from the right, so that earlier starts stay where they are
        span = slice(starts[i], starts[i] + lengths[i])
        targets = [sentinels[i], *text[span], *targets]
        text[span] = [sentinels[i]]
    return text + end, targets


def fill_spans(inputs, targets, sentinels):
    text, done = list(inputs), set()
    places = [i for i, token in enumerate(targets) if token in sentinels] + [len(targets)]
    for here, there in zip(places, places[1:]):
        token = targets[here]
        if token in done or token not in text:
            continue
        done.add(token)
        at = text.index(token)
        text[at : at + 1] = targets[here + 1 : there]
    return text
