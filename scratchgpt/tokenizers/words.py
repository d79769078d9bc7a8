"""A vocabulary of whole words, lower-cased, as word2vec has it: the rare ones and all that stands between are left out.

>>> words = WordTokenizer.train("The king and the queen; the KING is dead.", min_count=2)
>>> words.words, words.encode("King Lear and the fool"), words.decode([1, 0])
(['the', 'king'], [1, 0], 'king the')
"""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.files import read_json, write_text
from scratchgpt.tokenizers.split import check_text

WORDS_FILE = "words.json"
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")  # letters, with apostrophes inside; or digits


def words_of(text):
    """The words of a text, in order: "Don’t give 5 ducats" -> ["don't", "give", "5", "ducats"]."""
    check_text(text)
    return WORD.findall(text.lower().replace("’", "'"))


class WordTokenizer:
    """A vocabulary of words: words[id] is the word. Text that is none of them has no id and is left out, and what is
    left of a sentence moves together, as in word2vec (Mikolov et al. 2013b): there is no token for the unknown.

    words: strings as `words_of` gives them, each once; counts: how often each occurs in the text they were taken from
    (default: once). special_tokens is empty. Raises InputError otherwise.
    """

    def __init__(self, words, counts=None):
        self.words = list(words)
        self.counts = [1] * len(self.words) if counts is None else list(counts)
        self.ids = {word: number for number, word in enumerate(self.words)}
        if not self.words:
            raise InputError("the vocabulary has no words; expected at least one")
        for number, word in enumerate(self.words):
            if not isinstance(word, str) or words_of(word) != [word]:
                raise InputError(f"word {number} of the vocabulary is {word!r}; expected a single word in lower case")
            if self.ids[word] != number:
                raise InputError(f"the word {word!r} is twice in the vocabulary; expected each once")
        sound = all(isinstance(count, int) and count >= 0 for count in self.counts)
        if not sound or len(self.counts) != len(self.words):
            raise InputError(f"the counts are not {len(self.words)} whole numbers, one for each word")
        self.vocab_size, self.special_tokens = len(self.words), {}
        self._dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32

    def __repr__(self):
        return f"WordTokenizer(vocab_size={self.vocab_size})"

    @classmethod
    def train(cls, text, min_count=5):
        """The words that occur min_count times or more in a text, the most frequent first, of equally frequent ones in
        the order of the alphabet. Raises InputError when there is none."""
        if min_count < 1:
            raise InputError(f"min_count is {min_count}; expected at least 1")
        counts = Counter(words_of(text))
        kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        if not kept:
            raise InputError(f"no word of the text occurs {min_count} times; give more text or a smaller min_count")
        return cls([word for _, word in kept], [-count for count, _ in kept])

    def encode(self, text):
        """Ids of the words of a text that the vocabulary has, a list of ints."""
        return [self.ids[word] for word in words_of(text) if word in self.ids]

    def encode_array(self, text):
        """Ids of the words of a text that the vocabulary has, (n_words,) uint16, or uint32 above 65,536 words."""
        return np.array(self.encode(text), self._dtype)

    def decode(self, ids):
        """The words of a sequence of ids, with a space between. Raises InputError for an id out of range."""
        wrong = next((number for number in ids if not 0 <= number < self.vocab_size), None)
        if wrong is not None:
            raise InputError(f"token id {wrong} is out of range; this tokenizer has the ids 0 to {self.vocab_size - 1}")
        return " ".join(self.words[number] for number in ids)

    def id_of(self, word):
        """The id of a word in any case. Raises InputError when it is not one word, or not in the vocabulary."""
        found = words_of(word)
        if len(found) != 1:
            raise InputError(f"{word!r} is not one word; expected letters alone, or digits alone")
        if found[0] not in self.ids:
            raise InputError(f"the vocabulary of {self.vocab_size:,} words does not have {found[0]!r}: the text that "
                             "was trained on has it too rarely; ask for another")  # fmt: skip
        return self.ids[found[0]]

    def digest(self):
        """16 hexadecimal digits that stand for the words and their counts."""
        return hashlib.sha256(json.dumps([self.words, self.counts]).encode()).hexdigest()[:16]

    def save(self, directory):
        """Writes words.json. Raises InputError when `directory` is a file."""
        directory = Path(directory)
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory} is a file; expected a directory to write {WORDS_FILE} into")
        directory.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps([word, count], ensure_ascii=False) for word, count in zip(self.words, self.counts)]
        write_text(directory / WORDS_FILE, '{"words": [\n' + ",\n".join(rows) + "\n]}\n")

    @classmethod
    def load(cls, path):
        """Opens words.json in a directory, or that file. Raises InputError, naming it, when missing or malformed."""
        path = Path(path) / WORDS_FILE if Path(path).is_dir() else Path(path)
        rows = read_json(path).get("words")
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            raise InputError(f'{path} is no list of words with their counts; expected {{"words": [["the", 9], ...]}}')
        try:
            return cls(*zip(*rows)) if rows else cls([])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
