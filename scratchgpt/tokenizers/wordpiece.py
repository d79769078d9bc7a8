"""The WordPiece tokenizer of BERT (Devlin et al. 2018): train, encode, decode, save, load."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.tokenizers import wordpiece_formats
from scratchgpt.tokenizers.basic import BasicTokenizer
from scratchgpt.tokenizers.bpe import UnreachableVocabSize
from scratchgpt.tokenizers.fast import MAX_VOCAB
from scratchgpt.tokenizers.likelihood import PREFIX, alphabet_of, learn_pieces
from scratchgpt.tokenizers.split import Specials, check_text, read_text
from scratchgpt.tokenizers.wordpiece_formats import CLS, SEP, SPECIAL_TOKENS, UNK

LONGEST_WORD = 100  # characters; a longer word is [UNK], as in BERT
WORD_CACHE = 1 << 17  # words whose ids are kept: about 30 MB


def longest_match(word, vocab):
    """The pieces of a word, from the left, each the longest that the vocabulary has; None where it has none at all.

    longest_match("unaffable", {"un", "una", "##aff", "##able"}) -> None: "una" is taken, and nothing begins with "ff";
    without "una" it is ["un", "##aff", "##able"]. It never goes back.
    """
    pieces, start = [], 0
    while start < len(word):
        prefix = PREFIX if start else ""
        ends = range(len(word), start, -1)  # the longest first
        end = next((end for end in ends if prefix + word[start:end] in vocab), None)
        if end is None:
            return None
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def spell(word, vocab, longest):
    """The pieces of a word (see longest_match); [UNK] alone where there are none, or the word has more than `longest`
    characters."""
    pieces = longest_match(word, vocab) if len(word) <= longest else None
    return [UNK] if pieces is None else pieces


@dataclass(frozen=True)
class Encoding:
    """What BERT reads: ids, type_ids (0 in the first text, 1 in the second) and offsets, each a list of n_tokens.

    offsets[i] is the (start, end) of token i in its own text, in characters; (0, 0) for [CLS] and [SEP].
    """

    ids: list
    type_ids: list
    offsets: list


class WordPieceTokenizer:
    """WordPiece over BERT's basic tokenization.

    vocab: {token: id}, or the tokens in the order of their ids; a token that continues a word starts with ##.
    lowercase, strip_accents, split_cjk: see BasicTokenizer. special_tokens {str: id}: by default those of [PAD], [UNK],
    [CLS], [SEP], [MASK] that the vocabulary has; it must have [UNK]. Raises InputError when they do not fit.

    vocab {id: str}, special_tokens {str: id}, vocab_size (largest id + 1).

    >>> tokenizer = WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "they"])
    >>> tokenizer.tokens(tokenizer.encode_inputs("They played", "playing!").ids)
    ['[CLS]', 'they', 'play', '##ed', '[SEP]', 'play', '##ing', '[UNK]', '[SEP]']
    """

    def __init__(self, vocab, lowercase=True, strip_accents=None, split_cjk=True, special_tokens=None):
        ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, token in enumerate(vocab)}
        if special_tokens is None:
            special_tokens = {token: ids[token] for token in SPECIAL_TOKENS if token in ids}
        ids = ids | special_tokens
        _check_ids(ids, len(vocab))
        self.options = {"lowercase": lowercase, "strip_accents": strip_accents, "split_cjk": split_cjk}
        self.special_tokens = dict(special_tokens)
        self.vocab = {number: token for token, number in sorted(ids.items(), key=lambda item: item[1])}
        self.vocab_size = max(self.vocab) + 1
        self._ids, self._unknown = ids, ids[UNK]
        self._dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.uint32
        self._basic = BasicTokenizer(**self.options)
        self._ids_of_word = lru_cache(WORD_CACHE)(self._match)

    def __repr__(self):
        return f"WordPieceTokenizer(vocab_size={self.vocab_size}, lowercase={self.options['lowercase']})"

    # -- training

    @classmethod
    def train(cls, text, vocab_size, **options):
        """Learns the vocabulary of a str, or of an iterable of str, by likelihood (see `likelihood.py`).

        vocab_size counts the five special tokens and the text's characters. Raises InputError when the text is empty,
        or vocab_size is too small for its characters or out of reach (UnreachableVocabSize).
        """
        counts, basic = Counter(), BasicTokenizer(**options)
        for each in [text] if isinstance(text, str) else text:
            check_text(each)
            counts.update(basic.words(each))
        return cls._learn(counts, vocab_size, options)

    @classmethod
    def train_file(cls, path, vocab_size, **options):
        """`train` on a UTF-8 text file, read in parts. Raises InputError also when the file is missing, empty, binary
        or not UTF-8 (with the byte offset)."""
        return cls.train(whole_lines(read_text(path)), vocab_size, **options)

    @classmethod
    def _learn(cls, word_counts, vocab_size, options):
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size > MAX_VOCAB:
            raise InputError(f"vocab_size {vocab_size!r} is not an integer up to {MAX_VOCAB}")
        if not word_counts:
            raise InputError("the text holds no words; there is nothing to train a tokenizer on")
        n_alphabet, n_special = len(alphabet_of(word_counts)), len(SPECIAL_TOKENS)
        if vocab_size < n_alphabet + n_special:
            raise InputError(
                f"vocab_size {vocab_size} is below {n_alphabet + n_special}: WordPiece starts from {n_special} special "
                f"tokens and the text's {n_alphabet} characters, with ## and without; ask for at least that"
            )
        pieces = learn_pieces(word_counts, vocab_size - n_special)
        if n_special + len(pieces) < vocab_size:
            raise UnreachableVocabSize(vocab_size, len(pieces) - n_alphabet, n_special + len(pieces))
        return cls([*SPECIAL_TOKENS, *pieces], **options)

    # -- text to ids

    def encode(self, text, allowed_special=()):
        """Ids of a text alone, a list of ints. allowed_special: the special tokens to recognise, "all" or a collection;
        the others are encoded as ordinary text."""
        return self.encode_array(text, allowed_special).tolist()

    def encode_array(self, text, allowed_special=()):
        """Ids of a text alone, (n_tokens,) uint16, or uint32 when vocab_size is above 65,536; the fastest way."""
        check_text(text)
        ids = []
        for ordinary, special in Specials.allowed(allowed_special, self.special_tokens).split(text):
            for word in self._basic.words(ordinary):
                ids += self._ids_of_word(word)
            if special is not None:
                ids.append(self.special_tokens[special])
        return np.array(ids, self._dtype)

    def encode_file(self, path, allowed_special=()):
        """Yields the ids of a UTF-8 text file as arrays, in flat memory where it has lines.

        Raises InputError when the file is missing, empty, binary or not UTF-8 (with the byte offset).
        """
        return (self.encode_array(lines, allowed_special) for lines in whole_lines(read_text(path)))

    def encode_inputs(self, text, pair=None, allowed_special=()):
        """The Encoding of [CLS] text [SEP], or of [CLS] text [SEP] pair [SEP] (Devlin et al. 2018, section 3).

        Raises InputError when the vocabulary has no [CLS] or no [SEP].
        """
        cls, sep = self.id_of(CLS), self.id_of(SEP)
        ids, type_ids, offsets = [cls], [0], [(0, 0)]
        for kind, each in enumerate([text] if pair is None else [text, pair]):
            found, places = self.encode_with_offsets(each, allowed_special)
            ids += [*found, sep]
            type_ids += [kind] * (len(found) + 1)
            offsets += [*places, (0, 0)]
        return Encoding(ids, type_ids, offsets)

    def encode_with_offsets(self, text, allowed_special=()):
        """(ids, [(start, end)]) of a text alone: each token's characters in the text."""
        check_text(text)
        ids, offsets, start = [], [], 0
        for ordinary, special in Specials.allowed(allowed_special, self.special_tokens).split(text):
            for word, places in self._basic.words_and_places(ordinary):
                found = self._ids_of_word(word)
                ids += found
                first = 0
                for end in self._ends(word, found):
                    offsets.append((start + places[first], start + places[end - 1] + 1))
                    first = end
            start += len(ordinary)
            if special is not None:
                ids.append(self.special_tokens[special])
                offsets.append((start, start + len(special)))
                start += len(special)
        return ids, offsets

    def _match(self, word):
        return [self._ids[piece] for piece in spell(word, self._ids, LONGEST_WORD)]

    def _ends(self, word, ids):
        """Where in the word each of its tokens ends."""
        if ids == [self._unknown]:
            return [len(word)]
        lengths = [len(self.vocab[number]) - (len(PREFIX) if n else 0) for n, number in enumerate(ids)]
        return np.cumsum(lengths).tolist()

    def id_of(self, special):
        """The id of a special token. Raises InputError when the vocabulary lacks it."""
        if special not in self.special_tokens:
            raise InputError(f"the vocabulary has no {special}; its special tokens are {list(self.special_tokens)}")
        return self.special_tokens[special]

    def with_special_tokens(self, names):
        """A tokenizer that has these special tokens too; those that are new have the ids that follow."""
        new = [name for name in names if name not in self.special_tokens]
        specials = self.special_tokens | {name: self.vocab_size + n for n, name in enumerate(new)}
        return WordPieceTokenizer(self._ids, special_tokens=specials, **self.options)

    # -- ids to text

    def tokens(self, ids):
        """The tokens of a sequence of ids. Raises InputError for an id that is not in the vocabulary."""
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        try:
            return list(map(self.vocab.__getitem__, ids))
        except KeyError as error:
            raise InputError(f"token id {error.args[0]!r} is out of range; this tokenizer has the ids 0 to "
                             f"{self.vocab_size - 1}") from None  # fmt: skip

    def word_starts(self, ids):
        """Where ids, of any shape, begin a word: bools of the same shape. Raises InputError as `tokens` does."""
        ids = np.asarray(ids)
        kinds, places = np.unique(ids, return_inverse=True)
        begins = np.array([not token.startswith(PREFIX) for token in self.tokens(kinds)], bool)
        return begins[places].reshape(ids.shape)

    def decode(self, ids):
        """The words of a sequence of ids, with a space before each but . , ! ?; white space, and what the options
        drop, do not come back."""
        tokens = self.tokens(ids)
        return "".join(tokens[:1] + list(map(_continuation, tokens[1:])))

    def decode_stream(self, ids):
        """Yields the text that each id adds to what stands before: " world", "ing", "!"; to print while sampling."""
        return (_continuation(token) for number in ids for token in self.tokens((int(number),)))

    def decode_bytes(self, ids):
        """The UTF-8 bytes of decode(ids)."""
        return self.decode(ids).encode("utf-8")

    # -- files

    def digest(self):
        """16 hexadecimal digits that stand for the vocabulary, the options and the special tokens."""
        content = [sorted(self.vocab.items()), self.options, sorted(self.special_tokens.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def save(self, directory):
        """Writes vocab.txt, tokenizer.json and tokenizer_config.json, which `tokenizers` and `transformers` open.

        Raises InputError when `directory` is a file.
        """
        wordpiece_formats.write(directory, self._ids, self.options, self.special_tokens)

    @classmethod
    def load(cls, path):
        """Opens a directory that holds tokenizer.json or vocab.txt, or the path of either. Raises InputError, naming
        the file, when it is missing or malformed."""
        vocab, options, special_tokens = wordpiece_formats.read(path)
        try:
            return cls(vocab, special_tokens=special_tokens, **options)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def whole_lines(chunks):
    """Joins and cuts an iterable of str so that each part but the last ends a line: no token spans two."""
    held = []
    for chunk in chunks:
        end = chunk.rfind("\n") + 1
        if end:
            yield "".join([*held, chunk[:end]])
            held = []
        held.append(chunk[end:])
    yield "".join(held)


def _continuation(token):
    """What a token adds to a text: _continuation("##ing") -> "ing"; _continuation("world") -> " world"."""
    if token in (".", ",", "!", "?"):
        return token
    return token.removeprefix(PREFIX) if token.startswith(PREFIX) else " " + token


def _check_ids(ids, n_tokens):
    if UNK not in ids:
        raise InputError(f"the vocabulary has no {UNK}, which stands for what it cannot spell; add it")
    if len(ids) < n_tokens or len(set(ids.values())) != len(ids):
        raise InputError("the vocabulary has a token twice, or an id twice; expected one token per id")
    wrong = next((number for number in ids.values() if not 0 <= number < MAX_VOCAB), None)
    if wrong is not None:
        raise InputError(f"token id {wrong} is out of range; expected 0 to {MAX_VOCAB - 1}")
