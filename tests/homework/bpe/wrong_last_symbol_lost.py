# scratchgpt homework: bpe
# mistake merged: where=short
# mistake steps: where=short
from collections import defaultdict


def count_pairs(texts, weights):
    counts = defaultdict(int)
    for text, weight in zip(texts, weights):
        taken = False
        for i in range(len(text) - 1):
            taken = not taken and i > 0 and len({text[i - 1], text[i], text[i + 1]}) == 1
            if not taken:
                counts[(text[i], text[i + 1])] += weight
    return dict(counts)


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    out = []
    i = 0
    while i < len(text) - 1:
        if text[i] == pair[0] and text[i + 1] == pair[1]:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(text[i])
            i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
