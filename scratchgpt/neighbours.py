"""Static word vectors: neighbours, analogies, and word2vec's text format, for a model with one vector for each word.

>>> vectors = unit(to_host(model.params["centre"]))  # doctest: +SKIP
>>> analogy(vectors, *map(tokenizer.id_of, ("man", "king", "woman")))  # doctest: +SKIP
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.files import write_text
from scratchgpt.progress import print_table

SHOWN = 10  # neighbours in a table
QUESTIONS_AT_ONCE = 256


def unit(x):
    """Rows (n, C) scaled to length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def nearest(vectors, query, n=SHOWN, without=()):
    """[(id, cosine)] of the n rows of `vectors` (V, C), of length 1, that are most like `query` (C,), in order; the ids
    in `without` are left out."""
    cosines = vectors @ unit(query[None])[0]  # (V,)
    cosines[list(without)] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: max(0, min(n, len(vectors) - len(set(without))))]
    return [(int(word), float(cosines[word])) for word in best]


def analogy(vectors, a, b, c, n=SHOWN):
    """[(id, cosine)] of the words d for which a : b = c : d holds best, nearest to b - a + c (Mikolov et al. 2013c,
    section 4). The three words themselves are left out, as is the custom: without that b or c would often win."""
    return nearest(vectors, vectors[b] - vectors[a] + vectors[c], n, {a, b, c})


class Section(NamedTuple):
    """A part of a set of analogies: its name, how many questions it has, of how many the vocabulary has all four words,
    and how many of those were answered right."""

    name: str
    questions: int
    known: int
    right: int


def score(vectors, tokenizer, questions):
    """[Section] of questions {section: [(a, b, c, d)]}, words in any case: right is d as the first answer."""
    sections = []
    for name, rows in questions.items():
        known = [[tokenizer.ids[word.lower()] for word in row] for row in rows if known_words(tokenizer, row)]
        right = 0
        for start in range(0, len(known), QUESTIONS_AT_ONCE):
            a, b, c, d = np.array(known[start : start + QUESTIONS_AT_ONCE]).T
            scores = (vectors[b] - vectors[a] + vectors[c]) @ vectors.T  # (n, V)
            each = np.arange(len(a))
            for given in (a, b, c):
                scores[each, given] = -np.inf
            right += int((scores.argmax(1) == d).sum())
        sections.append(Section(name, len(rows), len(known), right))
    return sections


def known_words(tokenizer, row):
    return all(word.lower() in tokenizer.ids for word in row)


def read_questions(path):
    """{section: [(a, b, c, d)]} of a file like word2vec's questions-words.txt: lines ": section", and of four words.

    Raises InputError, with the number of the line, when a line is neither; when the file is missing, empty or no text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give a file of analogies") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}; give a text file of analogies") from None
    questions, section = {}, "all"
    for number, line in enumerate(lines, 1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            questions.setdefault(section, []).append(tuple(words))
        elif words:
            raise InputError(f"{path}, line {number}: {len(words)} words; expected four, a : b = c : d, or ': section'")
    if not questions:
        raise InputError(f"{path} holds no analogies; expected lines of four words")
    return questions


def write_vectors(path, vectors, words):
    """Writes word2vec's text format, which gensim's KeyedVectors.load_word2vec_format and spaCy's `init vectors` read:
    the numbers of words and of columns, then a word and its vector on each line."""
    lines = [f"{len(words)} {vectors.shape[1]}"]
    lines += [f"{word} {' '.join(f'{x:.9g}' for x in row)}" for word, row in zip(words, vectors.tolist())]
    write_text(path, "\n".join(lines) + "\n")


def show(args, model, tokenizer):
    """What `scratchgpt embed` prints of a word2vec."""
    table = to_host(model.params["centre"])
    vectors = unit(table)
    if args.word is not None:
        word = tokenizer.id_of(args.word)
        show_words(tokenizer, nearest(vectors, vectors[word], without=[word]), f"nearest to {tokenizer.words[word]!r}")
    elif args.analogy:
        ids = [tokenizer.id_of(word) for word in args.analogy]
        a, b, c = (tokenizer.words[number] for number in ids)
        show_words(tokenizer, analogy(vectors, *ids), f"{a} : {b} = {c} : ?, nearest to {b} - {a} + {c}")
    elif args.analogies is not None:
        show_sections(score(vectors, tokenizer, read_questions(args.analogies)), args.analogies)
    else:
        write_vectors(args.vectors, table, tokenizer.words)
        print(f"{len(table):,} vectors of {table.shape[1]} numbers, in {args.vectors}")


def show_words(tokenizer, found, title):
    rows = [(tokenizer.words[word], f"{cosine:.3f}") for word, cosine in found]
    print_table(title, rows, ("word", "cosine"))


def show_sections(sections, title):
    """A row for each section and one for all; the accuracy is of the questions whose words are known."""
    total = Section("all", *(sum(each[column] for each in sections) for column in (1, 2, 3)))
    if not total.known:
        raise InputError(f"{title}: the vocabulary has all four words of none of its {total.questions:,} analogies")
    rows = [
        (each.name, f"{each.questions:,}", f"{each.known:,}", f"{each.right:,}",
         f"{each.right / each.known:.1%}" if each.known else "-")
        for each in (*sections, total)
    ]  # fmt: skip
    print_table(title, rows, ("section", "questions", "all words known", "right", "of the known"))


def show_neighbours(model, tokenizer, n_words=8, n=6):
    """Prints the neighbours of some of the more frequent words that are long enough to say something."""
    vectors, words = unit(to_host(model.params["centre"])), tokenizer.words
    longer = [number for number, word in enumerate(words) if len(word) > 5] or list(range(len(words)))
    frequent = longer[: 8 * n_words]
    rows = []
    for word in frequent[:: max(1, len(frequent) // n_words)][:n_words]:
        found = nearest(vectors, vectors[word], n, without=[word])
        rows.append((words[word], "  ".join(words[other] for other, _ in found)))
    print_table(None, rows, ("word", "nearest"))
