# scratchgpt homework: wordpiece
# mistake matches: take=shortest
# mistake spelled: take=shortest
def longest_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        for end in range(start + 1, len(word) + 1):
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocab:
                break
        else:
            return None
        pieces.append(piece)
        start = end
    return pieces


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    pieces = longest_match(word, vocab)
    return ["[UNK]"] if pieces is None else pieces
