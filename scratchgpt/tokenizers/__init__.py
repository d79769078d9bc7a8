"""Tokenizers: read `algorithm1.py`, use `bpe.py`; `fast.py` and `encoder.py` give the same merges and ids quickly."""

from scratchgpt.tokenizers.bpe import BPETokenizer, UnreachableVocabSize

__all__ = ["BPETokenizer", "UnreachableVocabSize"]
