"""BPE and WordPiece side by side: both trained on the same text, to the same size, and measured on held-out text."""

from collections import Counter
from dataclasses import dataclass

from scratchgpt.errors import InputError
from scratchgpt.tokenizers.bpe import BPETokenizer
from scratchgpt.tokenizers.likelihood import PREFIX
from scratchgpt.tokenizers.wordpiece import WordPieceTokenizer
from scratchgpt.tokenizers.wordpiece_formats import UNK

EXAMPLE = 6  # letters that a word needs to be an example


@dataclass(frozen=True)
class Measure:
    """One tokenizer on one text. unknown: how many of its tokens are [UNK]; reversible: whether decode gives the text
    back."""

    tokens: int
    bytes_per_token: float
    tokens_per_word: float
    unknown: int
    reversible: bool


def measure(tokenizer, text):
    """The Measure of a tokenizer on a text; words are what white space divides. Raises InputError for no words."""
    n_words = len(text.split())
    if not n_words:
        raise InputError("the text to measure on holds no words; give more text")
    ids = tokenizer.encode(text)
    unknown = ids.count(tokenizer.special_tokens[UNK]) if UNK in tokenizer.special_tokens else 0
    n_tokens = max(1, len(ids))
    return Measure(len(ids), len(text.encode("utf-8")) / n_tokens, len(ids) / n_words, unknown,
                   tokenizer.decode(ids) == text)  # fmt: skip


def split_by_both(bpe, wordpiece, text):
    """Yields (word, BPE's pieces, WordPiece's pieces): words of the text that both divide, and at different places, the
    most frequent first.

    A word is encoded as it stands after a space, shown as "_": "unaffable" -> ["_un", "aff", "able"].
    """
    words = Counter(word for word in text.split() if word.isalpha() and len(word) >= EXAMPLE)
    for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        left = [bpe.decode([number]).replace(" ", "_") for number in bpe.encode(" " + word)]
        right = wordpiece.tokens(wordpiece.encode(word))
        same = [len(piece.removeprefix("_")) for piece in left] == [len(piece.removeprefix(PREFIX)) for piece in right]
        if len(left) > 1 and len(right) > 1 and not same:
            yield word, left, right


def train_both(text, vocab_size, **options):
    """(BPETokenizer, WordPieceTokenizer) of vocab_size tokens each; options: WordPiece's, as lowercase."""
    return BPETokenizer.train(text, vocab_size), WordPieceTokenizer.train(text, vocab_size, **options)
