# scratchgpt homework: wordpiece
def match_from(word, vocab, prefix):
    if not word:
        return ()
    for cut in reversed(range(1, len(word) + 1)):
        if prefix + word[:cut] in vocab:
            rest = match_from(word[cut:], vocab, "##")
            return None if rest is None else (prefix + word[:cut], *rest)
    return None


def longest_match(word, vocab):
    pieces = match_from(word, vocab, "")
    return None if pieces is None else list(pieces)


def spell(word, vocab, longest):
    return ["[UNK]"] if len(word) > longest else longest_match(word, vocab) or ["[UNK]"]
