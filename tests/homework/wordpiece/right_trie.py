# scratchgpt homework: wordpiece
"""A tree of characters for the beginnings of words and one for what goes on; spell walks it by itself."""

from functools import reduce

END = ""


def trees(vocab):
    first, rest = {}, {}
    for piece in vocab:
        tree, text = (rest, piece[2:]) if piece.startswith("##") else (first, piece)
        reduce(lambda node, letter: node.setdefault(letter, {}), text, tree)[END] = True
    return first, rest


def walk(word, vocab):
    first, rest = trees(vocab)
    at, pieces = 0, []
    while at < len(word):
        node, best = rest if at else first, None
        for i in range(at, len(word)):
            node = node.get(word[i])
            if node is None:
                break
            if END in node:
                best = i + 1
        if best is None:
            return None
        pieces.append(("##" if at else "") + word[at:best])
        at = best
    return pieces


def longest_match(word, vocab):
    return walk(word, vocab)


def spell(word, vocab, longest):
    return ["[UNK]"] if len(word) > longest or (pieces := walk(word, vocab)) is None else pieces
