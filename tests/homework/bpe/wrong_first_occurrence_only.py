# scratchgpt homework: bpe
# mistake merged: where=first
# mistake steps: where=first
from collections import Counter
from itertools import pairwise


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        previous = None
        for pair in pairwise(text):
            previous = None if pair == previous else pair
            if previous:
                counts[pair] += weight
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    for i in range(len(text) - 1):
        if (text[i], text[i + 1]) == pair:
            return text[:i] + (pair[0] + pair[1],) + text[i + 2 :]
    return text


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
