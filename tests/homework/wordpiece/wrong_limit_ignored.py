# scratchgpt homework: wordpiece
# mistake spelled: limit=ignored
def longest_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocab), None)
        if end is None:
            return None
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def spell(word, vocab, longest):
    pieces = longest_match(word, vocab)
    return ["[UNK]"] if pieces is None else pieces
