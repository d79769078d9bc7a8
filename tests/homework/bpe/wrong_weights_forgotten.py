# scratchgpt homework: bpe
# mistake counts: weight=1
# mistake steps: weight=1
from collections import Counter
from itertools import groupby


def count_pairs(texts, weights):
    counts = Counter()
    for text in texts:
        runs = [(symbol, len(list(group))) for symbol, group in groupby(text)]
        counts.update({})
        for symbol, length in runs:
            if length >= 2:
                counts[symbol, symbol] += length // 2
        for a, b in zip(runs[:-1], runs[1:]):
            counts[a[0], b[0]] += 1
    return counts


def most_frequent(counts):
    top = max(counts.values())
    return sorted(pair for pair, count in counts.items() if count == top)[-1]


def merge_pair(text, pair):
    out = []
    i = 0
    while i < len(text):
        if i < len(text) - 1 and (text[i], text[i + 1]) == pair:
            out += ["".join(pair)]
            i += 2
        else:
            out += [text[i]]
            i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if len(counts) == 0:
            break
        pair = most_frequent(counts)
        texts = [merge_pair(t, pair) for t in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
