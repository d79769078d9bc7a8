# scratchgpt homework: wordpiece/beginning
# mistake matches: prefix=hashes
# mistake spelled: prefix=hashes
"""BERT's way under another name."""


def marked_match(word, vocab):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocab), None)
        if end is None:
            return None
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def marked_spell(word, vocab, longest):
    pieces = marked_match(word, vocab) if len(word) <= longest else None
    return ["[UNK]"] if pieces is None else pieces
