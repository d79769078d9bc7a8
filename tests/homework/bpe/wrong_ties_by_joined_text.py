# scratchgpt homework: bpe
# mistake best: choice=joined
# mistake steps: choice=joined
def count_pairs(texts, weights):
    counts = {}
    for text, weight in zip(texts, weights):
        previous = None
        for pair in zip(text, text[1:]):
            if pair == previous:
                previous = None
                continue
            counts.setdefault(pair, 0)
            counts[pair] += weight
            previous = pair
    return counts


def most_frequent(counts):
    best, best_key = None, None
    for (left, right), count in counts.items():
        key = (count, left + right)
        if best_key is None or key > best_key:
            best, best_key = (left, right), key
    return best


def merge_pair(text, pair):
    merged, symbols = [], iter(text)
    held = next(symbols, None)
    while held is not None:
        following = next(symbols, None)
        if (held, following) == pair:
            merged.append(held + following)
            held = next(symbols, None)
        else:
            merged.append(held)
            held = following
    return tuple(merged)


def merge_steps(texts, weights, vocab, vocab_size):
    while len(vocab) < vocab_size:
        counts = count_pairs(texts, weights)
        if not counts:
            return
        left, right = most_frequent(counts)
        texts = [merge_pair(text, (left, right)) for text in texts]
        vocab |= {left + right}
        yield (left, right), counts[left, right], left + right, texts
