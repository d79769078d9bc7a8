# scratchgpt homework: bpe/min_count
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        free = True
        for i in range(1, len(text)):
            twin = i > 1 and text[i - 2] == text[i - 1] == text[i]
            free = not (twin and free)
            if free:
                counts[text[i - 1], text[i]] += weight
    return counts


def most_frequent(counts):
    largest = max(counts.values())
    return max(pair for pair in counts if counts[pair] == largest)


def merge_pair(text, pair):
    out, i = (), 0
    while i < len(text):
        found = tuple(text[i : i + 2]) == pair
        out += (pair[0] + pair[1] if found else text[i],)
        i += 1 + found
    return out


def frequent_steps(texts, weights, vocab, vocab_size, min_count):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts or max(counts.values()) < min_count:
            return
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield Step(pair, counts[pair], "".join(pair), texts)  # noqa: F821  (given with the exercise)
