# scratchgpt homework: span_decoding
# mistake first: longest=one more
# mistake last: longest=one more
# mistake score: longest=one more
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    first, last, score = [], [], []
    for row, (s, e) in enumerate(zip(starts, ends)):
        best = (-np.inf, None, None)
        for i in range(len(s)):
            for j in range(i, len(s)):
                too_long = j - i > longest
                outside = context is not None and (context[row][i] == 0 or context[row][j] == 0)
                if not too_long and not outside and s[i] + e[j] > best[0]:
                    best = (s[i] + e[j], i, j)
        score.append(best[0])
        first.append(best[1])
        last.append(best[2])
    return np.array(first), np.array(last), np.array(score)
