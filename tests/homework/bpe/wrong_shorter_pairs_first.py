# scratchgpt homework: bpe
# mistake best: unknown
# mistake steps: unknown
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
    return max(counts, key=lambda pair: (counts[pair] / len(pair[0] + pair[1]), pair))


def merge_pair(text, pair):
    out, i = [], 0
    while i < len(text):
        if text[i : i + 2] == pair:
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
            break
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
