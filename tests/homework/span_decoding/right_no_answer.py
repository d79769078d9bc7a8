# scratchgpt homework: span_decoding/no_answer
import numpy as np


def best_spans_or_none(starts, ends, context, longest, threshold):
    B, T = starts.shape
    first, last, margin = [], [], []
    for row in range(B):
        s, e = starts[row], ends[row]
        sums = np.add.outer(s, e)
        for i in range(T):
            for j in range(T):
                off = context is not None and (context[row, i] == 0 or context[row, j] == 0)
                if off or j < i or j >= i + longest:
                    sums[i, j] = -np.inf
        i, j = np.unravel_index(sums.argmax(), sums.shape)
        gain = sums[i, j] - (s[0] + e[0])
        first.append(i if gain > threshold else 0)
        last.append(j if gain > threshold else 0)
        margin.append(gain)
    return np.array(first), np.array(last), np.array(margin)
