# scratchgpt homework: span_decoding
# mistake *: overwrites
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    if context is not None:
        starts[context == 0] = -np.inf
        ends[context == 0] = -np.inf
    B, T = starts.shape
    first, last, score = [], [], []
    for s, e in zip(starts, ends):
        best = max(((s[i] + e[j], -i, -j) for i in range(T) for j in range(i, min(T, i + longest))))
        score.append(best[0])
        first.append(-best[1])
        last.append(-best[2])
    return np.array(first), np.array(last), np.array(score)
