# scratchgpt homework: bpe
# mistake steps: stop=merges
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        previous = None
        for pair in zip(text, text[1:]):
            if pair == previous:
                previous = None
                continue
            counts[pair] = counts.get(pair, 0) + weight
            previous = pair
    return counts


def most_frequent(counts):
    return sorted(counts, key=lambda pair: (counts[pair], pair), reverse=True)[0]


def merge_pair(text, pair):
    out, i = [], 0
    while i < len(text):
        if text[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 1
        else:
            out.append(text[i])
        i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    for _ in range(vocab_size):
        counts = count_pairs(texts, weights)
        if not counts:
            break
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add(pair[0] + pair[1])
        yield pair, counts[pair], pair[0] + pair[1], texts
