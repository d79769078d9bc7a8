# scratchgpt homework: wordpiece
# mistake matches: prefix=bare
# mistake spelled: prefix=bare
"""Looked up with ##, returned without."""


def lookup(text, first, vocab):
    return (text if first else "##" + text) in vocab


def longest_match(word, vocab):
    tokens, i = [], 0
    while i < len(word):
        j = len(word)
        while j > i and not lookup(word[i:j], i == 0, vocab):
            j -= 1
        if j == i:
            return None
        tokens.append(word[i:j])
        i = j
    return tokens


def spell(word, vocab, longest):
    tokens = longest_match(word, vocab)
    return ["[UNK]"] if tokens is None or len(word) > longest else tokens
