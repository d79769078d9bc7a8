# scratchgpt homework: span_decoding/no_answer
# mistake first: null=start
# mistake last: null=start
# mistake margin: null=start
import numpy as np


def best_spans_or_none(starts, ends, context, longest, threshold):
    T = starts.shape[1]
    out = []
    for b, (s, e) in enumerate(zip(starts, ends)):
        inside = np.arange(T) if context is None else np.flatnonzero(context[b])
        spans = [(s[i] + e[j], -i, -j) for i in inside for j in inside if i <= j < i + longest]
        score, i, j = max(spans)
        margin = score - s[0]
        out.append((-i, -j, margin) if margin > threshold else (0, 0, margin))
    first, last, margin = map(np.array, zip(*out))
    return first, last, margin
