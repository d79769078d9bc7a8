"""Algorithm 1, byte-pair encoding (Gage 1994; Sennrich et al. 2016), as the lectures' loop: the one to read first.

Everything here is slow and plain on purpose; `fast.py` must give the same merges and the same symbols.

Two rules make the result unique:
- A pair counts as often as merging it would replace it, from the left: AAA holds the pair (A, A) once, AAAA twice.
- Among the most frequent pairs the lexicographically greatest pair of byte strings wins (the rule of Stanford's CS336).

>>> for step in algorithm1(["AACGCACTATATA"], vocab_size=6):
...     print(step.pair, step.count, "".join(step.pair), "|", " ".join(step.texts[0]))
('T', 'A') 3 TA | A A C G C A C TA TA TA
('A', 'C') 2 AC | A AC G C AC TA TA TA
"""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import regex

from scratchgpt.errors import InputError

# GPT-2's pattern (Radford et al. 2019, encoder.py): contractions, letters, digits, other marks, white space. A word
# takes the one space before it; merges never cross from one match to the next.
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


class Step(NamedTuple):
    """One turn of the loop: `pair` occurred `count` times, became `symbol`, and left `texts` (tuples of symbols)."""

    pair: tuple
    count: int
    symbol: str | bytes
    texts: list


def count_pairs(texts, weights):
    """{(left, right): count} over all texts; text i counts weights[i] times."""
    counts = Counter()
    for text, weight in zip(texts, weights, strict=True):
        previous = None
        for pair in pairwise(text):
            if pair == previous:  # the middle A of AAA is already taken
                previous = None
                continue
            counts[pair] += weight
            previous = pair
    return counts


def merge_pair(text, pair):
    """Replaces the pair everywhere, from the left: merge_pair(("A", "A", "A", "C"), ("A", "A")) -> ("AA", "A", "C")."""
    merged, i = [], 0
    while i < len(text):
        if text[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(text[i])
            i += 1
    return tuple(merged)


def most_frequent(counts):
    """The pair with the largest count, the lexicographically greatest where several have it."""
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_steps(texts, weights, vocab, vocab_size):
    """Yields a Step for each merge, adding its symbol to the set `vocab`, while |V| < vocab_size (Algorithm 1's own
    condition) and a pair is left.

    texts: tuples of symbols (str or bytes); weights: how often each text occurs.
    """
    while len(vocab) < vocab_size and (counts := count_pairs(texts, weights)):
        pair = most_frequent(counts)
        symbol = pair[0] + pair[1]
        texts = [merge_pair(text, pair) if pair[0] in text else text for text in texts]
        vocab.add(symbol)
        yield Step(pair, counts[pair], symbol, texts)


def algorithm1(strings, vocab_size):
    """Algorithm 1: from V = all unique characters, merge the most frequent pair until |V| = vocab_size.

    strings: the texts D over any alphabet. Yields Steps, fewer when the texts run out of pairs.
    """
    texts = [tuple(string) for string in strings]
    vocab = {symbol for text in texts for symbol in text}
    return merge_steps(texts, [1] * len(texts), vocab, vocab_size)


def algorithm1_words(text, vocab_size, end_of_word="</w>"):
    """The variant of Sennrich et al. 2016: white space divides words, and each word ends in a symbol of its own, so
    that est</w> (as in "newest") and est (as in "estimate") are different symbols.

    Yields Steps whose texts are the distinct words in order of appearance. Raises InputError when the text itself holds
    the end-of-word symbol.
    """
    if end_of_word in text:
        raise InputError(f"the text contains the end-of-word symbol {end_of_word!r}; give another end_of_word")
    words = Counter(text.split())
    texts = [(*word, end_of_word) for word in words]
    vocab = {symbol for text in texts for symbol in text}
    return merge_steps(texts, list(words.values()), vocab, vocab_size)


def algorithm1_bytes(text, vocab_size):
    """Byte-level BPE (Radford et al. 2019, section 2.2): V = the 256 bytes, words cut by GPT-2's pattern.

    Yields Steps whose symbols are bytes and whose texts are the distinct pre-tokens.
    """
    words = Counter(split_gpt2(text))
    texts = [tuple(bytes([byte]) for byte in word.encode("utf-8")) for word in words]
    vocab = {bytes([byte]) for byte in range(256)}
    return merge_steps(texts, list(words.values()), vocab, vocab_size)


def split_gpt2(text):
    """GPT-2's pre-tokens: split_gpt2("They're  here") -> ["They", "'re", " ", " here"]; joined they are the text."""
    return regex.findall(GPT2_PATTERN, text)


def encode(symbols, merges):
    """Symbols of one word after every merge, in the order in which they were learned.

    >>> encode(tuple("CATA"), [("T", "A"), ("A", "C")])
    ('C', 'A', 'TA')
    """
    symbols = tuple(symbols)
    for pair in merges:
        if len(symbols) > 1:
            symbols = merge_pair(symbols, tuple(pair))
    return symbols


def encode_bytes(text, merges):
    """Tokens (bytes) of a text: GPT-2's split, then the merges within each pre-token."""
    tokens = []
    for word in split_gpt2(text):
        tokens += encode((bytes([byte]) for byte in word.encode("utf-8")), merges)
    return tokens
