# scratchgpt homework: span_decoding
# mistake first: context=product
# mistake last: context=product
# mistake score: context=product
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    mask = 1 if context is None else context
    starts, ends = starts * mask, ends * mask
    first, last, score = [], [], []
    for s, e in zip(starts, ends):
        spans = [(s[i] + e[j], -i, -j) for i in range(len(s)) for j in range(i, min(len(s), i + longest))]
        best = max(spans)
        score.append(best[0])
        first.append(-best[1])
        last.append(-best[2])
    return np.array(first), np.array(last), np.array(score)
