# scratchgpt homework: wordpiece/beginning
# mistake matches: prefix=either
# mistake spelled: prefix=either + limit=below
"""The ▁ counts as a character; a beginning without one is taken where there is none with it."""


def marked_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            text = word[start:end]
            options = [text] if start else ["▁" + text, text]
            piece = next((option for option in options if option in vocab), None)
            if piece:
                break
        else:
            return None
        pieces.append(piece)
        start = end
    return pieces


def marked_spell(word, vocab, longest):
    if len("▁" + word) > longest:
        return ["[UNK]"]
    return marked_match(word, vocab) or ["[UNK]"]
