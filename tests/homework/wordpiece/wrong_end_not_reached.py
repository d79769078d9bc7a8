# scratchgpt homework: wordpiece
# mistake matches: take=short
# mistake spelled: take=short
def longest_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        found = None
        for end in range(len(word) - 1, start, -1):
            piece = word[start:end]
            if start > 0:
                piece = "##" + piece
            if piece in vocab:
                found = piece
                break
        if found is None:
            return None
        pieces.append(found)
        start = end
    return pieces


def spell(word, vocab, longest):
    if len(word) > longest or longest_match(word, vocab) is None:
        return ["[UNK]"]
    return longest_match(word, vocab)
