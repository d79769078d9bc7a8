# scratchgpt homework: span_decoding
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    first, last, score = np.zeros(B, int), np.zeros(B, int), np.full(B, -np.inf)
    for row in range(B):
        for i in range(T):
            for j in range(i, min(i + longest, T)):
                if context is not None and not (context[row, i] and context[row, j]):
                    continue
                if starts[row, i] + ends[row, j] > score[row]:
                    first[row], last[row], score[row] = i, j, starts[row, i] + ends[row, j]
    return first, last, score
