# scratchgpt homework: bpe/min_count
def count_pairs(texts, weights):
    counts = {}
    for n, text in enumerate(texts):
        last = -2
        for i in range(len(text) - 1):
            pair = text[i], text[i + 1]
            if last == i - 1 and text[i - 1] == pair[0] == pair[1]:
                continue  # shares its first symbol with the pair just counted
            counts[pair] = counts.get(pair, 0) + weights[n]
            last = i
    return counts


def most_frequent(counts):
    return max((count, pair) for pair, count in counts.items())[1]


def merge_pair(text, pair):
    marks = [0] * len(text)
    for i in range(len(text) - 1):
        if marks[i] == 0 and text[i] == pair[0] and text[i + 1] == pair[1]:
            marks[i], marks[i + 1] = 1, 2
    return tuple(pair[0] + pair[1] if mark == 1 else symbol for symbol, mark in zip(text, marks) if mark < 2)


def frequent_steps(texts, weights, vocab, vocab_size, min_count):
    steps, size = [], len(vocab)
    counts = count_pairs(texts, weights)
    while size < vocab_size and counts and counts[most_frequent(counts)] >= min_count:
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        size += 1
        steps.append((pair, counts[pair], pair[0] + pair[1], texts))
        counts = count_pairs(texts, weights)
    return steps
