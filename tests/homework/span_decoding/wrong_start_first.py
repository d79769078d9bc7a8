# scratchgpt homework: span_decoding
# mistake first: pairs=start first
# mistake last: pairs=start first
# mistake score: pairs=start first
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    firsts, lasts, scores = [], [], []
    for row in range(len(starts)):
        s, e = starts[row].copy(), ends[row].copy()
        if context is not None:
            s[context[row] == 0] = -np.inf
            e[context[row] == 0] = -np.inf
        i = int(np.argmax(s))
        j = i + int(np.argmax(e[i : i + longest]))
        firsts.append(i)
        lasts.append(j)
        scores.append(s[i] + e[j])
    return np.array(firsts), np.array(lasts), np.array(scores)
