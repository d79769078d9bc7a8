# scratchgpt homework: bpe
# mistake counts: overlap=all
# mistake steps: overlap=all
from collections import Counter
from itertools import pairwise


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        for pair in pairwise(text):
            counts[pair] += weight
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    out, i = [], 0
    while i < len(text):
        if tuple(text[i : i + 2]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(text[i])
            i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add(pair[0] + pair[1])
        yield pair, counts[pair], pair[0] + pair[1], texts
