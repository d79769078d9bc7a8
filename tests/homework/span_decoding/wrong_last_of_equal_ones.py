# scratchgpt homework: span_decoding
# mistake first: ties=last
# mistake last: ties=last
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    first, last, score = np.zeros(B, int), np.zeros(B, int), np.full(B, -np.inf)
    for b in range(B):
        for i in range(T):
            for j in range(i, min(T, i + longest)):
                value = starts[b, i] + ends[b, j]
                if context is None or context[b, i] * context[b, j]:
                    if value >= score[b]:
                        score[b], first[b], last[b] = value, i, j
    return first, last, score
