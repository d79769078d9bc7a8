"""Tokenizers. BPE: read `algorithm1.py`, use `bpe.py`; `fast.py` and `encoder.py` give the same merges and ids quickly.
WordPiece: read `basic.py` (text to words), `likelihood.py` (training) and `wordpiece.py`, in this order.
Whole words, for word2vec: `words.py`."""

from pathlib import Path

from scratchgpt.files import read_json
from scratchgpt.tokenizers.bpe import BPETokenizer, UnreachableVocabSize
from scratchgpt.tokenizers.wordpiece import WordPieceTokenizer
from scratchgpt.tokenizers.words import WORDS_FILE, WordTokenizer

__all__ = ["BPETokenizer", "UnreachableVocabSize", "WordPieceTokenizer", "WordTokenizer", "load"]


def load(path):
    """The tokenizer in a directory, of the kind that its tokenizer.json says it is, or without one its vocab.txt or
    words.json; or that of a tokenizer.json. Raises InputError, naming the file, when it is missing or malformed."""
    file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
    if file.is_file():
        model = read_json(file).get("model")
        wordpiece = isinstance(model, dict) and model.get("type") == "WordPiece"
    elif (Path(path) / WORDS_FILE).is_file():
        return WordTokenizer.load(path)
    else:
        wordpiece = (Path(path) / "vocab.txt").is_file()
    return (WordPieceTokenizer if wordpiece else BPETokenizer).load(path)
