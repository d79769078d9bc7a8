# scratchgpt homework: wordpiece
"""A regular expression's alternatives, the longest first; it must not go back, so it is asked piece by piece."""

import re


def pattern(texts):
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def longest_match(word, vocab):
    begin = pattern(piece for piece in vocab if not piece.startswith("##"))
    inside = pattern(piece.removeprefix("##") for piece in vocab if piece.startswith("##"))
    pieces, at = [], 0
    while at < len(word):
        found = (inside if at else begin).match(word, at)
        if not found:
            return None
        pieces.append(f"{'##' if at else ''}{found[0]}")
        at = found.end()
    return pieces


def spell(word, vocab, longest):
    pieces = None
    if not len(word) > longest:
        pieces = longest_match(word, vocab)
    return pieces or ["[UNK]"]
