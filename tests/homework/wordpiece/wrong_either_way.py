# scratchgpt homework: wordpiece
# mistake matches: prefix=either
# mistake spelled: prefix=either
"""Inside a word a piece without ## will do as well, so that every é is one."""


def longest_match(word, vocab):
    result, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            text = word[start:end]
            if start and "##" + text in vocab:
                result.append("##" + text)
                break
            if text in vocab:
                result.append(text)
                break
        else:
            return None
        start = end
    return result


def spell(word, vocab, longest):
    return longest_match(word, vocab) if len(word) <= longest else ["[UNK]"]
