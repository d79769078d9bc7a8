# scratchgpt homework: wordpiece
# mistake matches: take=back
# mistake spelled: take=back
"""Finds a way to spell the word wherever there is one."""

from functools import cache


def longest_match(word, vocab):
    @cache
    def solve(start):
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab and (tail := solve(end)) is not None:
                return [piece, *tail]
        return None

    return solve(0)


def spell(word, vocab, longest):
    return (longest_match(word, vocab) if len(word) <= longest else None) or ["[UNK]"]
