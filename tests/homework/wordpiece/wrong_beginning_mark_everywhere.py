# scratchgpt homework: wordpiece/beginning
# mistake matches: prefix=all
# mistake spelled: prefix=all
def marked_match(word, vocab):
    pieces = []
    while word:
        n = next((n for n in range(len(word), 0, -1) if "▁" + word[:n] in vocab), 0)
        if n == 0:
            break
        pieces.append("▁" + word[:n])
        word = word[n:]
    return pieces


def marked_spell(word, vocab, longest):
    pieces = marked_match(word, vocab)
    if len(word) > longest or sum(len(piece) - 1 for piece in pieces) < len(word):
        return ["[UNK]"]
    return pieces
