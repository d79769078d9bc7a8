# scratchgpt homework: bpe
# mistake best: choice=first
# mistake steps: choice=first
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        skip = False
        for i in range(len(text) - 1):
            pair = (text[i], text[i + 1])
            skip = not skip and i > 0 and text[i - 1] == text[i] == text[i + 1]
            if not skip:
                counts[pair] = counts.get(pair, 0) + weight
    return counts


def most_frequent(counts):
    return max(counts, key=counts.get)


def merge_pair(text, pair):
    out, i = [], 0
    while i < len(text):
        if i + 1 < len(text) and text[i] == pair[0] and text[i + 1] == pair[1]:
            out.append(pair[0] + pair[1])
            i += 1
        else:
            out.append(text[i])
        i += 1
    return tuple(out)


def merge_steps(texts, weights, vocab, vocab_size):
    result = []
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if counts == {}:
            break
        pair = most_frequent(counts)
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add(pair[0] + pair[1])
        result.append((pair, counts[pair], pair[0] + pair[1], texts))
    return result
