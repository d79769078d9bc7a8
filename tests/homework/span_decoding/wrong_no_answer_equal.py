# scratchgpt homework: span_decoding/no_answer
# mistake first: null=equal + ties=last
# mistake last: null=equal + ties=last
# mistake margin: whole:-1
import numpy as np


def best_spans_or_none(starts, ends, context, longest, threshold):
    B, T = starts.shape
    first, last, margin = np.zeros(B, int), np.zeros(B, int), np.zeros(B)
    for b in range(B):
        best = -np.inf
        for i in range(T):
            for j in range(i, min(T, i + longest)):
                if context is not None and not (context[b, i] and context[b, j]):
                    continue
                if starts[b, i] + ends[b, j] >= best:
                    best, span = starts[b, i] + ends[b, j], (i, j)
        margin[b] = starts[b, 0] + ends[b, 0] - best
        if margin[b] <= -threshold:
            first[b], last[b] = span
    return first, last, margin
