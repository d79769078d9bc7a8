# scratchgpt homework: wordpiece
# mistake matches: gap=unk
# mistake spelled: limit=pieces
def longest_match(word, vocab):
    pieces, left = [], word
    while left:
        prefix = "##" if pieces else ""
        candidates = [left[:n] for n in range(len(left), 0, -1) if prefix + left[:n] in vocab]
        if not candidates:
            return ["[UNK]"]
        pieces.append(prefix + candidates[0])
        left = left.removeprefix(candidates[0])
    return pieces


def spell(word, vocab, longest):
    pieces = longest_match(word, vocab)
    return pieces if len(pieces) <= longest else ["[UNK]"]
