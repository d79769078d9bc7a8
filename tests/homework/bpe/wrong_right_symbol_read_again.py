# scratchgpt homework: bpe
# mistake merged: where=step
# mistake steps: stop=late + where=step
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        last = None
        for pair in zip(text[:-1], text[1:]):
            if pair != last:
                counts[pair] += weight
                last = pair
            else:
                last = None
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    merged = []
    for i in range(len(text)):
        if text[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
        else:
            merged.append(text[i])
    return tuple(merged)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) <= vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
