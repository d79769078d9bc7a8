# scratchgpt homework: bpe
# mistake counts: span=across
# mistake steps: loop
from collections import Counter
from functools import reduce


def count_pairs(texts, weights):
    stream = reduce(lambda a, b: a + b, texts, ())
    counts, previous = Counter(), None
    for left, right in zip(stream, stream[1:]):
        if (left, right) == previous:
            previous = None
        else:
            counts[left, right] += 1
            previous = (left, right)
    return counts


def most_frequent(counts):
    return max(counts.items(), key=lambda item: item[::-1])[0]


def merge_pair(text, pair):
    merged = []
    skip = False
    for i, symbol in enumerate(text):
        if skip:
            skip = False
        elif (symbol, *text[i + 1 : i + 2]) == pair:
            merged.append("".join(pair))
            skip = True
        else:
            merged.append(symbol)
    return tuple(merged)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size and (counts := count_pairs(texts, weights)):
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
