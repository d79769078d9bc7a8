# scratchgpt homework: wordpiece
# mistake spelled: gap=none + limit=empty
def longest_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = len(word)
        while prefix + word[start:end] not in vocab:
            end -= 1
            if end == start:
                return None
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def spell(word, vocab, longest):
    if len(word) > longest:
        return []
    return longest_match(word, vocab)
