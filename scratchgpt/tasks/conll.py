"""CoNLL columns: a word and its tag on each line, a blank line between sentences, -DOCSTART- between documents."""

import re

from scratchgpt.errors import InputError
from scratchgpt.tasks.bio import check_tag, to_bio
from scratchgpt.tasks.examples import TagExample

DOCUMENT = "-DOCSTART-"


def read_columns(text, path, labelled=True):
    """[TagExample] of a text in CoNLL columns. The columns are divided by tabs, or else by spaces; the word is in the
    first and the tag in the last one. Where there are several documents, each is a group.

    labelled=False: the word may be alone. Raises InputError, with the number of the line, for another number of columns
    than the first line has, an empty word, and a tag that is not O, B-TYPE or I-TYPE.
    """
    sentences, documents, width = [], 0, None
    words = []  # of the sentence being read: (line, word, tag)
    for number, line in enumerate([*text.split("\n"), ""], 1):
        line = line.strip("\r ") if "\t" in line else line.strip()
        fields = line.split("\t") if "\t" in line else re.split(" +", line)
        if not line.strip() or fields[0] == DOCUMENT:
            if words:
                sentences.append((documents, words))
                words = []
            documents += fields[0] == DOCUMENT
            continue
        where = f"{path}, line {number}"
        width = width or len(fields)
        if len(fields) != width or (labelled and width < 2):
            expected = f"{max(2, width)}, a word first and its tag last" if labelled else f"{width}"
            raise InputError(f"{where}: columns: {len(fields)}; expected {expected}")
        if not fields[0].strip():
            raise InputError(f"{where}: the word is empty; expected a word first and its tag last")
        if width > 1:
            check_tag(fields[-1], where)
        words.append((number, fields[0], fields[-1]))
    if not sentences:
        raise InputError(f"{path} holds no examples")
    several = len({document for document, _ in sentences}) > 1
    return [example(words, path, f"document {document:05}" if several else None, width > 1)
            for document, words in sentences]  # fmt: skip


def example(words, path, group, tagged):
    lines, tokens, tags = zip(*words)
    return TagExample(tokens, to_bio(tags) if tagged else None, str(lines[0]), group, f"{path}, line {lines[0]}")
