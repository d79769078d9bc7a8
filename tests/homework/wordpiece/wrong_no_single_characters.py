# scratchgpt homework: wordpiece
# mistake matches: take=one
# mistake spelled: take=one
def longest_match(word, vocab):
    start = 0
    pieces = []
    while start < len(word):
        prefix = "##" if start else ""
        fitting = [end for end in range(len(word), start + 1, -1) if prefix + word[start:end] in vocab]
        if not fitting:
            return None
        pieces.append(prefix + word[start : fitting[0]])
        start = fitting[0]
    return pieces


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    pieces = longest_match(word, vocab)
    return ["[UNK]"] if pieces is None else pieces
