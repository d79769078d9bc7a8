# scratchgpt homework: wordpiece
# mistake matches: prefix=none
# mistake spelled: prefix=none
def longest_match(word, vocab):
    out = []
    while word:
        n = len(word)
        while n and word[:n] not in vocab:
            n -= 1
        if not n:
            return None
        out.append(word[:n])
        word = word[n:]
    return out


def spell(word, vocab, longest):
    pieces = longest_match(word, vocab)
    return pieces if pieces and len(word) <= longest else ["[UNK]"]
