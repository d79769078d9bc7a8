"""The byte-level BPE tokenizer of GPT-2 (Radford et al. 2019): train, encode, decode, save, load."""

import codecs
import hashlib
import json
from array import array

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.tokenizers import formats
from scratchgpt.tokenizers.encoder import Cache, Encoder
from scratchgpt.tokenizers.fast import MAX_VOCAB, WordCounter, count_files, learn_merges
from scratchgpt.tokenizers.split import Specials, check_text, read_text

BYTES = [bytes([byte]) for byte in range(256)]
TEXT_CACHE = 1 << 17  # entries kept between calls on whole texts: at most 45 MB
STREAM_CACHE = 6144  # entries kept while streaming: at most 2 MB


class UnreachableVocabSize(InputError):
    """The text ran out of pairs. `merges`: how many there were; `reachable`: the largest vocabulary they give."""

    def __init__(self, vocab_size, merges, reachable):
        super().__init__(
            f"vocab_size {vocab_size} cannot be reached: the text gives {merges} merges, a vocabulary of {reachable}; "
            f"ask for at most {reachable} or give more text"
        )
        self.merges, self.reachable = merges, reachable


class BPETokenizer:
    """Byte-level BPE with GPT-2's split.

    merges: [(bytes, bytes)] in order. special_tokens: strings, never split and never made from plain text unless
    allowed. Ids: bytes 0 to 255, then the merges, then the special tokens; or as given by vocab {bytes: id} and
    special_tokens {str: id}. Raises InputError when they do not fit each other.

    vocab {id: bytes}, special_tokens {str: id}, merges, vocab_size (largest id + 1).

    >>> tokenizer = BPETokenizer.train("low lower lowest", vocab_size=260)
    >>> [tokenizer.vocab[i] for i in tokenizer.encode("lower<|endoftext|>", allowed_special="all")]
    [b'lowe', b'r', b'<|endoftext|>']
    """

    def __init__(self, merges, special_tokens=(formats.END_OF_TEXT,), vocab=None):
        self.merges = [tuple(pair) for pair in merges]
        if vocab is None:
            vocab = {token: number for number, token in enumerate(BYTES + [a + b for a, b in self.merges])}
        if not isinstance(special_tokens, dict):
            special_tokens = {token: len(vocab) + n for n, token in enumerate(_check_specials(special_tokens))}
        _check_consistent(vocab, self.merges, special_tokens)
        self.special_tokens = dict(special_tokens)
        self.vocab = {number: token for token, number in vocab.items()}
        self.vocab |= {number: token.encode("utf-8") for token, number in self.special_tokens.items()}
        self.vocab_size = max(self.vocab) + 1
        self._ids = vocab
        self._typecode = "H" if self.vocab_size <= 1 << 16 else "I"
        merged = [(vocab[left], vocab[right], vocab[left + right]) for left, right in self.merges]
        self._encoder = Encoder([vocab[byte] for byte in BYTES], merged, self._typecode)
        self._cache = Cache(self._encoder, TEXT_CACHE)

    def __repr__(self):
        return f"BPETokenizer(vocab_size={self.vocab_size}, special_tokens={list(self.special_tokens)})"

    # -- training

    @classmethod
    def train(cls, text, vocab_size, special_tokens=(formats.END_OF_TEXT,)):
        """Learns the merges of a str, or of an iterable of str, each a text of its own (no pair crosses texts).

        vocab_size counts the 256 bytes and the special tokens, whose occurrences in the text divide it and are not
        learned from. Raises InputError when the text is empty, or vocab_size is below 257 or out of reach
        (UnreachableVocabSize, whose `reachable` is the largest size).
        """
        special_tokens = _check_vocab_size(vocab_size, special_tokens)
        specials, counter = Specials(special_tokens), WordCounter()
        for each in [text] if isinstance(text, str) else text:
            check_text(each)
            counter.add_between(each, specials)
        return cls._learn(counter.counts(), vocab_size, special_tokens)

    @classmethod
    def train_file(cls, paths, vocab_size, special_tokens=(formats.END_OF_TEXT,), processes=1):
        """`train` on UTF-8 text files (one path or several), read in blocks; `processes` count words side by side.

        Raises InputError also when a file is missing, empty, binary or not UTF-8 (with the byte offset).
        """
        special_tokens = _check_vocab_size(vocab_size, special_tokens)
        paths = [paths] if isinstance(paths, str) or hasattr(paths, "__fspath__") else list(paths)
        if not isinstance(processes, int) or processes < 1:
            raise InputError(f"processes {processes!r} is not a positive integer; 1 counts in this process")
        return cls._learn(count_files(paths, special_tokens, processes), vocab_size, special_tokens)

    @classmethod
    def _learn(cls, word_counts, vocab_size, special_tokens):
        if not word_counts:
            raise InputError("the text is empty; there is nothing to train a tokenizer on")
        wanted = vocab_size - 256 - len(special_tokens)
        merges = learn_merges(word_counts, wanted)
        if len(merges) < wanted:
            raise UnreachableVocabSize(vocab_size, len(merges), 256 + len(special_tokens) + len(merges))
        return cls(merges, special_tokens)

    # -- text to ids

    def encode(self, text, allowed_special=()):
        """Ids of a text, a list of ints. allowed_special: the special tokens to recognise, "all" or a collection;
        the others are encoded as ordinary text."""
        return self.encode_array(text, allowed_special).tolist()

    def encode_array(self, text, allowed_special=()):
        """Ids of a text, (n_tokens,) uint16, or uint32 when vocab_size is above 65,536; the fastest way."""
        check_text(text)
        return self._encode(text, Specials.allowed(allowed_special, self.special_tokens), self._cache)

    def encode_with_offsets(self, text):
        """(ids, [(start, end)]) of a text: each token's characters in it, without the white space around them.

        A character whose bytes are several tokens' belongs to each; a token of white space has an empty place.
        """
        ids = self.encode(text)
        lengths = np.array([len(self.vocab[number]) for number in ids], int)
        owner = np.repeat(np.arange(len(text)), [len(character.encode("utf-8")) for character in text])  # of each byte
        last = np.cumsum(lengths) - 1
        firsts, ends = owner[last - lengths + 1].tolist(), (owner[last] + 1).tolist()
        return ids, [_without_space(text, start, end) for start, end in zip(firsts, ends)]

    def encode_iterable(self, iterable, allowed_special=()):
        """Yields the ids of an iterable of str, such as an open file, that is read as one text: the same ids as
        encoding it whole, in flat memory."""
        for ids in self._encode_stream(iterable, Specials.allowed(allowed_special, self.special_tokens)):
            yield from ids.tolist()

    def encode_file(self, path, allowed_special=()):
        """Yields the ids of a UTF-8 text file as arrays (one per block of text), in flat memory.

        Raises InputError when the file is missing, empty, binary or not UTF-8 (with the byte offset).
        """
        return self._encode_stream(read_text(path), Specials.allowed(allowed_special, self.special_tokens))

    def _encode_stream(self, chunks, specials):
        cache = Cache(self._encoder, STREAM_CACHE)  # its own, small and then gone
        for block in specials.blocks(chunks):
            yield self._encode(block, specials, cache)

    def _encode(self, text, specials, cache):
        packed = []
        for ordinary, special in specials.split(text):
            if ordinary:
                packed.append(cache.encode(ordinary))
            if special is not None:
                packed.append(array(self._typecode, [self.special_tokens[special]]).tobytes())
        return np.frombuffer(bytearray().join(packed), self._typecode)

    def with_special_tokens(self, names):
        """A tokenizer that has these special tokens too; those that are new have the ids that follow."""
        new = [name for name in names if name not in self.special_tokens]
        specials = self.special_tokens | {name: self.vocab_size + n for n, name in enumerate(new)}
        return BPETokenizer(self.merges, specials, self._ids)

    # -- ids to text

    def decode_bytes(self, ids):
        """The bytes of a sequence of ids. Raises InputError for an id that is not in the vocabulary."""
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        try:
            return b"".join(map(self.vocab.__getitem__, ids))
        except KeyError as error:
            self._refuse(error.args[0])

    def _refuse(self, number):
        raise InputError(f"token id {number!r} is out of range; this tokenizer has the ids 0 to {self.vocab_size - 1}")

    def decode(self, ids):
        """The text of a sequence of ids; bytes that are not UTF-8 become U+FFFD. decode(encode(text)) == text."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids):
        """Yields, id by id, the text that is complete so far ("" while a character still lacks bytes), for printing
        while sampling; joined it is decode(ids)."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for number in ids:
            yield decoder.decode(self.decode_bytes((int(number),)))
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    # -- files

    def digest(self):
        """16 hexadecimal digits that stand for the vocabulary, the merges and the special tokens."""
        content = [sorted([number, token.hex()] for number, token in self.vocab.items()),
                   [[left.hex(), right.hex()] for left, right in self.merges],
                   sorted(self.special_tokens.items())]  # fmt: skip
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def save(self, directory):
        """Writes vocab.json, merges.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json, which
        `tokenizers` and `transformers` open. Raises InputError when `directory` is a file."""
        formats.write(directory, self._ids, self.merges, self.special_tokens)

    @classmethod
    def load(cls, path):
        """Opens a directory that holds tokenizer.json, or vocab.json and merges.txt (GPT-2's and Hugging Face's too),
        or the path of a tokenizer.json. Raises InputError, naming the file, when it is missing or malformed."""
        return cls._from(formats.read(path), path)

    @classmethod
    def from_files(cls, vocab_path, merges_path):
        """Opens a vocabulary and its merges under any names, such as GPT-2's own encoder.json and vocab.bpe."""
        return cls._from(formats.read_vocab_and_merges(vocab_path, merges_path), f"{vocab_path} and {merges_path}")

    @classmethod
    def _from(cls, tables, source):
        vocab, merges, specials = tables
        try:
            return cls(merges, specials, vocab)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


def _without_space(text, start, end):
    """The place of text[start:end] without white space at its ends: (" a b ", 0, 5) -> (1, 4)."""
    start = end - len(text[start:end].lstrip())
    return start, start + len(text[start:end].rstrip())


def _check_specials(special_tokens):
    if isinstance(special_tokens, str):
        raise InputError(f"special_tokens {special_tokens!r} is a string; expected a list such as [{special_tokens!r}]")
    special_tokens = list(special_tokens)
    for token in special_tokens:
        check_text(token)
        if not token:
            raise InputError("a special token is empty; expected at least one character")
        if special_tokens.count(token) > 1:
            raise InputError(f"special token {token!r} is given twice; give it once")
    return special_tokens


def _check_vocab_size(vocab_size, special_tokens):
    special_tokens = _check_specials(special_tokens)
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
        raise InputError(f"vocab_size {vocab_size!r} is not an integer; ask for at least 257")
    least = max(257, 256 + len(special_tokens))
    if vocab_size < least:
        raise InputError(
            f"vocab_size {vocab_size} is below {least}: byte-level BPE starts from 256 byte tokens plus special tokens"
            f"; ask for at least {least}"
        )
    if vocab_size > MAX_VOCAB:
        raise InputError(f"vocab_size {vocab_size} is above {MAX_VOCAB}, the largest vocabulary; ask for less")
    return special_tokens


def _check_consistent(vocab, merges, special_tokens):
    _check_specials(special_tokens)
    numbers = [*vocab.values(), *special_tokens.values()]
    if len(set(numbers)) != len(numbers):
        raise InputError("two tokens have the same id; expected one token per id")
    wrong = next((number for number in numbers if not 0 <= number < MAX_VOCAB), None)
    if wrong is not None:
        raise InputError(f"token id {wrong} is out of range; expected 0 to {MAX_VOCAB - 1}")
    for byte in BYTES:
        if byte not in vocab:
            raise InputError(f"the vocabulary lacks byte {byte[0]}; byte-level BPE has a token for each byte")
    for left, right in merges:
        lacking = next((token for token in (left, right, left + right) if token not in vocab), None)
        if lacking is not None:
            raise InputError(f"the merge of {left!r} and {right!r} needs {lacking!r}, which is not in the vocabulary")
    if len(set(merges)) != len(merges):
        raise InputError("a merge is listed twice; expected each pair once")
    for token in special_tokens:
        if formats.to_bytes(token) in vocab:
            raise InputError(f"special token {token!r} is also an ordinary token; give it another name")
