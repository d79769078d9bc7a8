# scratchgpt homework: bpe/min_count
# mistake steps: least=ignored
from collections import Counter
from itertools import pairwise


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights, strict=True):
        previous = None
        for pair in pairwise(text):
            if pair == previous:  # the middle A of AAA is already taken
                previous = None
                continue
            counts[pair] += weight
            previous = pair
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    merged, i = [], 0
    while i < len(text):
        if text[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(text[i])
            i += 1
    return tuple(merged)


def frequent_steps(texts, weights, vocab, vocab_size, min_count):
    while len(vocab) < vocab_size and (counts := count_pairs(texts, weights)):
        pair = most_frequent(counts)
        symbol = pair[0] + pair[1]
        texts = [merge_pair(text, pair) if pair[0] in text else text for text in texts]
        vocab.add(symbol)
        yield Step(pair, counts[pair], symbol, texts)  # noqa: F821  (given with the exercise)
