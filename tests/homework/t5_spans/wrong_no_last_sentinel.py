# scratchgpt homework: t5_spans
# mistake targets: final=missing
# mistake restored: last=lost
import numpy as np


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    ids = np.asarray(ids)
    ends = np.add(starts, lengths)
    cuts = np.concatenate([[0], np.ravel([starts, ends], order="F"), [len(ids)]])
    parts = [ids[a:b].tolist() for a, b in zip(cuts, cuts[1:])]
    kept, hidden = parts[0::2], parts[1::2]
    inputs = sum(([*k, s] for k, s in zip(kept, sentinels[: len(hidden)])), []) + kept[-1]
    targets = sum(([s, *h] for h, s in zip(hidden, sentinels)), [])
    tail = [] if eos is None else [eos]
    return inputs + tail, targets + tail


def fill_spans(inputs, targets, sentinels):
    places = [i for i, token in enumerate(targets) if token in sentinels]
    spans = {}
    for a, b in zip(places, places[1:]):
        spans.setdefault(targets[a], targets[a + 1 : b])
    out = []
    for token in inputs:
        out += spans.get(token, [token])
    return out
