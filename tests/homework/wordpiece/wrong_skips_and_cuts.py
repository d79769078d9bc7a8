# scratchgpt homework: wordpiece
# mistake matches: gap=skip
# mistake spelled: gap=skip + limit=cut
"""What does not fit is left out: characters, and the end of a long word."""


def longest_match(word, vocab):
    pieces, position = [], 0
    while position < len(word):
        best = None
        for length in range(1, len(word) - position + 1):
            text = word[position : position + length]
            key = "##" + text if position else text
            if key in vocab:
                best = key, length
        if best is None:
            position += 1
            continue
        pieces.append(best[0])
        position += best[1]
    return pieces


def spell(word, vocab, longest):
    return longest_match(word[:longest], vocab)
