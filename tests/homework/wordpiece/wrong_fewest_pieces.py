# scratchgpt homework: wordpiece
# mistake matches: unknown
# mistake spelled: unknown
"""The fewest pieces, the last of them as long as can be."""


def longest_match(word, vocab):
    best = [[]] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            piece = ("##" if start else "") + word[start:end]
            if best[start] is not None and piece in vocab:
                if best[end] is None or len(best[start]) + 1 < len(best[end]):
                    best[end] = best[start] + [piece]
    return best[len(word)]


def spell(word, vocab, longest):
    pieces = longest_match(word, vocab) if len(word) <= longest else None
    return ["[UNK]"] if pieces is None else pieces
