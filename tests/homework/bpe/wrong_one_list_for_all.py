# scratchgpt homework: bpe
# mistake steps: yielded=last
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        i = 0
        while i < len(text) - 1:
            pair = (text[i], text[i + 1])
            counts[pair] = counts.get(pair, 0) + weight
            # AAA: the second A is used up, unless another pair follows
            if text[i] == text[i + 1] and i + 2 < len(text) and text[i + 2] == text[i]:
                i += 2
            else:
                i += 1
    return counts


def most_frequent(counts):
    return sorted(counts, key=lambda pair: (counts[pair], pair))[-1]


def merge_pair(text, pair):
    merged = []
    for symbol in text:
        if merged and merged[-1] == (pair[0], None) and symbol == pair[1]:
            merged[-1] = (pair[0] + pair[1], True)
        elif symbol == pair[0]:
            merged.append((symbol, None))
        else:
            merged.append((symbol, True))
    return tuple(symbol for symbol, _ in merged)


def merge_steps(texts, weights, vocab, vocab_size):
    steps = []
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            break
        pair = most_frequent(counts)
        new = pair[0] + pair[1]
        texts[:] = [merge_pair(text, pair) for text in texts]
        vocab.add(new)
        steps.append((pair, counts[pair], new, texts))
    return steps
