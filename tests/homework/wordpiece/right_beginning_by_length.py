# scratchgpt homework: wordpiece/beginning
"""No piece is longer than the vocabulary's longest."""


def marked_match(word, vocab):
    most = max(map(len, vocab))
    out = []
    i = 0
    while i < len(word):
        for n in range(min(most, len(word) - i), 0, -1):
            candidate = ("▁" if i == 0 else "") + word[i : i + n]
            if candidate in vocab:
                out += [candidate]
                i += n
                break
        else:
            return None
    return out


def marked_spell(word, vocab, longest):
    if len(word) <= longest:
        pieces = marked_match(word, vocab)
        if pieces is not None:
            return pieces
    return ["[UNK]"]
