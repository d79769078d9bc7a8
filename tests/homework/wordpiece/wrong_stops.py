# scratchgpt homework: wordpiece
# mistake matches: gap=stop
# mistake spelled: gap=stop + limit=ignored
def longest_match(word, vocab):
    pieces = []
    start = end = 0
    while end < len(word):
        end = len(word)
        prefix = "##" * (start > 0)
        while end > start:
            if prefix + word[start:end] in vocab:
                pieces.append(prefix + word[start:end])
                break
            end = end - 1
        if start == end:
            break
        start = end
    return pieces


def spell(word, vocab, longest):
    return longest_match(word, vocab)
