# scratchgpt homework: bpe
# mistake counts: kept=set
# mistake steps: kept=set
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        used = -1
        for i in range(len(text) - 1):
            if i == used and text[i - 1] == text[i] == text[i + 1]:
                continue
            counts[text[i], text[i + 1]] = weight
            used = i + 1
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: [counts[pair], *pair])


def merge_pair(text, pair):
    left, right = pair
    out = list(text)
    i = 0
    while i < len(out) - 1:
        if out[i] == left and out[i + 1] == right:
            out[i : i + 2] = [left + right]
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
