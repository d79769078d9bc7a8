# scratchgpt homework: wordpiece
# mistake spelled: limit=bytes
def longest_match(word, vocab):
    pieces = []
    while word:
        prefix = "##" if pieces else ""
        for n in range(len(word), 0, -1):
            if prefix + word[:n] in vocab:
                pieces.append(prefix + word[:n])
                word = word[n:]
                break
        else:
            return None
    return pieces


def spell(word, vocab, longest):
    if len(word.encode("utf-8")) > longest:
        return ["[UNK]"]
    pieces = longest_match(word, vocab)
    return pieces if pieces is not None else ["[UNK]"]
