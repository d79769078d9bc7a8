# scratchgpt homework: wordpiece
# mistake matches: gap=rest
# mistake spelled: gap=rest
def longest_match(word, vocab):
    tokens = []
    start = 0
    while start < len(word):
        end = len(word)
        while end > start and (word[start:end] if not start else "##" + word[start:end]) not in vocab:
            end -= 1
        if end == start:
            tokens.append("[UNK]")
            break
        tokens.append(word[start:end] if not start else "##" + word[start:end])
        start = end
    return tokens


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    return longest_match(word, vocab)
