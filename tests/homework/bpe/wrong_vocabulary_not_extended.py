# scratchgpt homework: bpe
# mistake steps: stop=never
from collections import Counter


def count_pairs(texts, weights):
    counts = Counter()
    for text, weight in zip(texts, weights):
        for i, pair in enumerate(zip(text, text[1:])):
            run = i
            while run > 0 and text[run - 1] == pair[0] == pair[1]:
                run -= 1
            if (i - run) % 2 == 0:  # every second pair of a run
                counts[pair] += weight
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


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
        yield pair, counts[pair], pair[0] + pair[1], texts
