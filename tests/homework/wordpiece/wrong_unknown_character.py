# scratchgpt homework: wordpiece
# mistake matches: gap=each
# mistake spelled: gap=each
"""[UNK] for each character that nothing fits."""


def longest_match(word, vocab):
    out, i = [], 0
    while i < len(word):
        for j in range(len(word), i, -1):
            piece = word[i:j] if i == 0 else "##" + word[i:j]
            if piece in vocab:
                out.append(piece)
                i = j
                break
        else:
            out.append("[UNK]")
            i += 1
    return out


def spell(word, vocab, longest):
    return longest_match(word, vocab) if len(word) <= longest else ["[UNK]"]
