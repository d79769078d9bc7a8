# scratchgpt homework: wordpiece
"""As BERT's tokenization.py does it."""


def longest_match(word, vocab):
    chars = list(word)
    start, output = 0, []
    while start < len(chars):
        end = len(chars)
        current = None
        while start < end:
            substring = "".join(chars[start:end])
            if start > 0:
                substring = "##" + substring
            if substring in vocab:
                current = substring
                break
            end -= 1
        if current is None:
            return None
        output.append(current)
        start = end
    return output


def spell(word, vocab, longest):
    if len(word) > longest:
        return ["[UNK]"]
    found = longest_match(word, vocab)
    return found if found is not None else ["[UNK]"]
