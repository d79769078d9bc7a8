# scratchgpt homework: bpe
from collections import defaultdict
from itertools import groupby


def count_pairs(texts, weights):
    counts = defaultdict(int)
    for text, weight in zip(texts, weights):
        runs = [(symbol, len(list(group))) for symbol, group in groupby(text)]
        for symbol, length in runs:
            if length > 1:
                counts[symbol, symbol] += weight * (length // 2)  # a run of n is n // 2 pairs
        for (left, _), (right, _) in zip(runs, runs[1:]):
            counts[left, right] += weight
    return dict(counts)


def most_frequent(counts):
    return sorted(counts.items(), key=lambda item: (item[1], item[0]))[-1][0]


def merge_pair(text, pair):
    text, done = list(text), []
    while text:
        first = text.pop(0)
        if text and (first, text[0]) == pair:
            first += text.pop(0)
        done.append(first)
    return tuple(done)


def merge_steps(texts, weights, vocab, vocab_size):
    counts = count_pairs(texts, weights)
    if len(vocab) >= vocab_size or not counts:
        return
    pair = most_frequent(counts)
    texts = [merge_pair(text, pair) for text in texts]
    yield [pair, counts[pair], "".join(pair), texts]
    yield from merge_steps(texts, weights, vocab | {"".join(pair)}, vocab_size)
