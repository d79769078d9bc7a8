# scratchgpt homework: wordpiece
# mistake matches: take=order
# mistake spelled: take=order
"""Goes through the vocabulary, and takes what fits."""


def longest_match(word, vocab):
    pieces, rest = [], word
    while rest:
        for piece in vocab:
            goes_on = piece.startswith("##")
            text = piece[2:] if goes_on else piece
            if goes_on == bool(pieces) and rest.startswith(text):
                pieces.append(piece)
                rest = rest[len(text) :]
                break
        else:
            return None
    return pieces


def spell(word, vocab, longest):
    found = longest_match(word, vocab) if len(word) <= longest else None
    return ["[UNK]"] if found is None else found
