# scratchgpt homework: span_decoding
# mistake first: pairs=strict
# mistake last: pairs=strict
# mistake score: pairs=strict
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    def one(s, e, c):
        best = None
        for i in range(len(s)):
            for j in range(i + 1, len(s)):
                if j - i + 1 > longest or not (c[i] and c[j]):
                    continue
                if best is None or s[i] + e[j] > best[2]:
                    best = i, j, s[i] + e[j]
        return best

    mask = np.ones(starts.shape) if context is None else context
    found = [one(*row) for row in zip(starts, ends, mask)]
    return tuple(np.array(column) for column in zip(*found))
