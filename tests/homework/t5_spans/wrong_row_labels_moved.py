# scratchgpt homework: t5_spans/one_row
# mistake input_ids: sentinel=next
# mistake labels: sentinel=next + labels=shifted
# mistake restored: last=lost
import numpy as np


def hide_in_row(ids, starts, lengths, sentinels, eos=None):
    marks = sentinels[1:]
    text, said, end = [], [], 0
    for i in range(len(starts)):
        text += ids[end : starts[i]] + [marks[i]]
        end = starts[i] + lengths[i]
        said += [marks[i]] + ids[starts[i] : end]
    text += ids[end:]
    said += [marks[len(starts)]] + ([] if eos is None else [eos])
    row = np.array(text + said)
    labels = np.full(len(row), -100)
    labels[len(text) - 1 : -1] = row[len(text) :]
    return row.tolist(), labels.tolist()


def fill_row(row, sentinels):
    places = [i for i, token in enumerate(row) if token in sentinels]
    end = next(i for i in places if row[i] in row[:i])
    said = [i for i in places if i >= end]
    spans = {}
    for a, b in zip(said, said[1:]):
        spans.setdefault(row[a], row[a + 1 : b])
    return [each for token in row[:end] for each in spans.get(token, [token])]
