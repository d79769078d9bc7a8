# scratchgpt homework: t5_spans/one_row
def hide_in_row(ids, starts, lengths, sentinels, eos=None):
    text, said, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        text.extend(ids[end:start])
        text.append(sentinel)
        end = start + length
        said.append(sentinel)
        said.extend(ids[start:end])
    text.extend(ids[end:])
    said.append(sentinels[len(starts)])
    if eos is not None:
        said.append(eos)
    return text + said, [-100 for _ in text] + said


def fill_row(row, sentinels):
    seen = set()
    for end, token in enumerate(row):
        if token in seen:
            break
        if token in sentinels:
            seen.add(token)
    spans = {}
    for token in row[end:]:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in row[:end] for each in spans.get(token, [token])]
