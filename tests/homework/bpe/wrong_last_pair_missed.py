# scratchgpt homework: bpe
# mistake counts: span=last
# mistake steps: span=last
def count_pairs(texts, weights):
    counts = dict()
    for k in range(len(texts)):
        i, n = 0, len(texts[k])
        while i < n - 2:
            pair = (texts[k][i], texts[k][i + 1])
            if pair in counts:
                counts[pair] += weights[k]
            else:
                counts[pair] = weights[k]
            if i < n - 3 and pair[0] == pair[1] == texts[k][i + 2]:
                i += 1
            i += 1
    return counts


def most_frequent(counts):
    best = ("", "")
    for pair in counts:
        if (counts[pair], pair) > (counts.get(best, 0), best):
            best = pair
    return best


def merge_pair(text, pair):
    out = []
    i = 0
    while i < len(text):
        if text[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
            continue
        out.append(text[i])
        i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    steps = []
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return steps
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add(pair[0] + pair[1])
        steps.append((pair, counts[pair], pair[0] + pair[1], texts))
    return steps
