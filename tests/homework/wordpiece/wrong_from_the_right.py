# scratchgpt homework: wordpiece
# mistake matches: take=right
# mistake spelled: take=right
def longest_match(word, vocab):
    pieces, end = [], len(word)
    while end > 0:
        for start in range(end):
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocab:
                pieces.append(piece)
                end = start
                break
        else:
            return None
    return pieces[::-1]


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    pieces = longest_match(word, vocab)
    if pieces is None:
        return ["[UNK]"]
    return pieces
