# scratchgpt homework: wordpiece/beginning
def marked_match(word, vocab):
    pieces = []
    text = "▁" + word
    while text:
        end = len(text)
        while end > 0 and (text[:end] not in vocab or text[:end] == "▁"):
            end -= 1
        if end == 0:
            return None
        pieces.append(text[:end])
        text = text[end:]
    return pieces


def marked_spell(word, vocab, longest):
    pieces = marked_match(word, vocab)
    return ["[UNK]"] if pieces is None or len(word) > longest else pieces
