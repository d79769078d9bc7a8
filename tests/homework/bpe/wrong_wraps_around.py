# scratchgpt homework: bpe
# mistake counts: span=wrap
# mistake steps: loop
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        before = None
        for i in range(len(text)):
            pair = (text[i - 1], text[i])
            if pair == before:
                before = None
                continue
            counts[pair] = counts.get(pair, 0) + weight
            before = pair
    return counts


def most_frequent(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(text, pair):
    out, merged_last = [], False
    for symbol in text:
        if out and out[-1] == pair[0] and symbol == pair[1] and not merged_last:
            out[-1] += symbol
            merged_last = True
        else:
            out.append(symbol)
            merged_last = False
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
