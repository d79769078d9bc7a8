# scratchgpt homework: wordpiece
# mistake matches: prefix=all
# mistake spelled: prefix=all + gap=word
def longest_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start and f"##{word[start:end]}" not in vocab:
            end -= 1
        if end == start:
            return None
        pieces.append(f"##{word[start:end]}")
        start = end
    return pieces


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    pieces = longest_match(word, vocab)
    return [word] if pieces is None else pieces
