# scratchgpt homework: bpe
# mistake merged: where=substring
# mistake steps: where=substring
import re
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        i = 0
        while i + 1 < len(text):
            counts[text[i], text[i + 1]] += weight
            i += 1 + (i + 2 < len(text) and text[i] == text[i + 1] == text[i + 2])
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    line = re.sub(re.escape(" ".join(pair)), "".join(pair), " ".join(text))
    return tuple(line.split(" "))


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
