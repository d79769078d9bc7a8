# scratchgpt homework: bpe
# mistake best: choice=smallest
# mistake steps: choice=smallest
from collections import Counter


def pairs(text):
    i = 0
    while i + 1 < len(text):
        yield text[i], text[i + 1]
        i += 2 if text[i : i + 3] == (text[i],) * 3 else 1


def count_pairs(texts, weights):
    total = Counter()
    for text, weight in zip(texts, weights):
        for pair in pairs(text):
            total[pair] += weight
    return total


def most_frequent(counts):
    return min(counts, key=lambda pair: (-counts[pair], pair))


def merge_pair(text, pair):
    if len(text) < 2:
        return tuple(text)
    if text[:2] == pair:
        return (text[0] + text[1], *merge_pair(text[2:], pair))
    return (text[0], *merge_pair(text[1:], pair))


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size and (counts := count_pairs(texts, weights)):
        best = most_frequent(counts)
        texts = [merge_pair(text, best) for text in texts]
        vocab.add("".join(best))
        yield best, counts[best], "".join(best), texts
