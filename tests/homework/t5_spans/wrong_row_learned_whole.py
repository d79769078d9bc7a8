# scratchgpt homework: t5_spans/one_row
# mistake input_ids: eos=twice
# mistake labels: eos=twice + labels=all
# mistake restored: cut=late
def hide_in_row(ids, starts, lengths, sentinels, eos=None):
    text, said, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        text += [*ids[end:start], sentinel]
        end = start + length
        said += [sentinel, *ids[start:end]]
    text += ids[end:]
    said.append(sentinels[len(starts)])
    if eos is not None:
        text.append(eos)
        said.append(eos)
    return text + said, text + said


def fill_row(row, sentinels):
    first = next(token for token in row if token in sentinels)
    end = len(row) - 1 - row[::-1].index(first)
    text, said = row[:end], row[end:]
    spans, current = {}, []
    for token in said:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return [each for token in text for each in spans.get(token, [token])]
