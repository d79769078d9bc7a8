# scratchgpt homework: bpe
# mistake steps: stop=late
from collections import Counter
from itertools import pairwise


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        previous = None
        for pair in pairwise(text):
            if pair == previous:
                previous = None
                continue
            counts[pair] += weight
            previous = pair
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    out, i = [], 0
    while i < len(text):
        width = 2 if text[i : i + 2] == pair else 1
        out.append("".join(text[i : i + width]))
        i += width
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    while True:
        counts = count_pairs(texts, weights)
        if not counts or len(vocab) > vocab_size:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
