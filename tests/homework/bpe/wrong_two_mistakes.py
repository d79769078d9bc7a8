# scratchgpt homework: bpe
# mistake best: choice=smallest
# mistake merged: where=right
# mistake steps: choice=smallest + where=right
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        previous = None
        for pair in zip(text, text[1:]):
            if pair == previous:
                previous = None
            else:
                counts[pair] += weight
                previous = pair
    return counts


def most_frequent(counts):
    best = None
    for pair in sorted(counts):
        if best is None or counts[pair] > counts[best]:
            best = pair
    return best


def merge_pair(text, pair):
    text = list(text)
    i = len(text) - 2
    while i >= 0:
        if (text[i], text[i + 1]) == pair:
            text[i : i + 2] = [text[i] + text[i + 1]]
            i -= 1
        i -= 1
    return tuple(text)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            break
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
