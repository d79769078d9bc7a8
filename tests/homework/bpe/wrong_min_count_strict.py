# scratchgpt homework: bpe/min_count
# mistake counts: kept=once
# mistake steps: kept=once + least=above
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        for pair in dict.fromkeys(zip(text, text[1:])):
            counts[pair] = counts.get(pair, 0) + weight
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


def frequent_steps(texts, weights, vocab, vocab_size, min_count):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            break
        pair = most_frequent(counts)
        if counts[pair] <= min_count:
            break
        texts = [merge_pair(text, pair) for text in texts]
        vocab.add("".join(pair))
        yield pair, counts[pair], "".join(pair), texts
