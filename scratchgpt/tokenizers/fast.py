"""Algorithm 1 fast enough for real corpora, in pure Python: the same merges and the same tokens as `algorithm1.py`.

Three ideas:
- Count distinct words, not the text; count distinct pieces of text before cutting them into words (`split.pieces`).
- Hold each word as a str with one character per token (token i is chr(i)), so that finding and replacing a pair are
  str.split and str.join, which run in C.
- After a merge, correct only the counts of the neighbours. A merge makes new pairs, but never makes an old pair more
  frequent, so pairs wait in buckets by count, and the next best one is found without a search.
"""

import gc
import heapq
import multiprocessing
import sys
import threading
import warnings
from bisect import insort
from collections import Counter, defaultdict, deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from scratchgpt.tokenizers.split import BLOCK, Specials, pieces, pretokens, read_text

PROCESS_BLOCK = 1 << 21  # characters handed to a process at a time
MAX_VOCAB = 1 << 20  # so that a pair of ids packs into 40 bits and an id is one character of a str
CUT = Specials(())


class WordCounter:
    """Counts GPT-2's pre-tokens of many texts: add(text) as often as needed, then counts() -> {pre-token: count}."""

    MAX_PIECES = 1_000_000  # then they are resolved into words, which are far fewer

    def __init__(self):
        self.pieces, self.words = Counter(), Counter()

    def add(self, text):
        for block in CUT.blocks([text]):  # a block's strings stay in the CPU's cache
            first, *middle = pieces(block)
            if middle:
                self.words.update(pretokens(middle.pop()))
            self.words.update(pretokens(first))
            self.pieces.update(middle)
        if len(self.pieces) > self.MAX_PIECES:
            self._resolve()

    def add_between(self, text, specials):
        """Adds what stands between the special tokens of a text."""
        for ordinary, _ in specials.split(text):
            if ordinary:
                self.add(ordinary)

    def _resolve(self):
        # Each piece in the middle of a text starts with white space and ends without: joined, they are cut as
        # they would be one by one. So all pieces of one count go through the pattern in one call.
        by_count = defaultdict(list)
        for piece, count in self.pieces.items():
            by_count[count].append(piece)
        self.pieces.clear()
        for count, group in by_count.items():
            for word, times in Counter(pretokens("".join(group))).items():
                self.words[word] += times * count

    def counts(self):
        self._resolve()
        return dict(self.words)


@contextmanager
def no_garbage_collection():
    """Training makes many small lists and no cycles: the collector would only scan them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def learn_merges(word_counts, n_merges):
    """The first n_merges of byte-level BPE, [(bytes, bytes)]; fewer when the words run out of pairs.

    word_counts: {pre-token: how often it occurs}.
    """
    with no_garbage_collection():
        return _Trainer(word_counts).learn(n_merges)


class _Trainer:
    """words[i] occurs counts[i] times; a pair is a str of two characters.

    pair_counts[pair] is exact after every merge. holders[pair] lists the words that held the pair when the newer of its
    symbols was made; some may have lost it since.
    """

    def __init__(self, word_counts):
        self.tokens = [bytes([byte]) for byte in range(256)]
        words = [word.encode("utf-8") for word in word_counts]
        self.words = [word.decode("latin-1") for word in words]  # one character per byte
        self.counts = list(word_counts.values())
        self.holders, self.pair_counts = {}, {}
        self._find_pairs(words)
        self.queue = _PairQueue(self.tokens, self.pair_counts)

    def _find_pairs(self, words):
        """Fills holders and pair_counts with all pairs of bytes, by one sort."""
        symbols = np.frombuffer(b"".join(words), np.uint8).astype(np.uint16)
        owners = np.repeat(np.arange(len(words)), [len(word) for word in words])
        inside = owners[:-1] == owners[1:]  # no pair crosses from one word to the next
        pairs, owners = (symbols[:-1] << 8 | symbols[1:])[inside], owners[:-1][inside]
        order = np.argsort(pairs, kind="stable")  # a radix sort, since they are uint16
        pairs, owners = pairs[order], owners[order]
        starts = np.flatnonzero(np.diff(pairs, prepend=-1))
        codes = pairs[starts].tolist()
        weights = np.array(self.counts, np.int64)[owners]
        totals = np.add.reduceat(weights, starts).tolist() if codes else []
        owners = owners.tolist()
        for code, total, (start, end) in zip(codes, totals, pairwise([*starts.tolist(), len(owners)]), strict=True):
            pair = chr(code >> 8) + chr(code & 255)
            held = self.holders[pair] = list(dict.fromkeys(owners[start:end]))
            if pair[0] == pair[1]:  # AAA holds AA once, as str.count counts
                total = sum(self.words[i].count(pair) * self.counts[i] for i in held)
            self.pair_counts[pair] = total

    def learn(self, n_merges):
        merges = []
        while len(merges) < n_merges and (pair := self.queue.pop()):
            left, right = self.tokens[ord(pair[0])], self.tokens[ord(pair[1])]
            merges.append((left, right))
            self.tokens.append(left + right)
            self._merge(pair, chr(len(self.tokens) - 1))
        return merges

    def _merge(self, pair, symbol):
        """Replaces the pair in every word that holds it and corrects the counts of the pairs around it."""
        words, pair_counts = self.words, self.pair_counts
        lefts, rights = defaultdict(list), defaultdict(list)  # neighbour -> words
        made = defaultdict(list)  # new pair -> words with several of the old
        for i in self.holders.pop(pair):
            parts = words[i].split(pair)
            if len(parts) == 2:
                before, after = parts
                words[i] = f"{before}{symbol}{after}"
                if before:
                    lefts[before[-1]].append(i)
                if after:
                    rights[after[0]].append(i)
            elif len(parts) > 2:  # else an earlier merge took the pair
                self._merge_repeated(i, parts, pair, symbol, made)
        first, second = pair
        # A run of n equal symbols held n // 2 pairs; with its end merged away (n - 1) // 2: no loss if n is odd.
        for i in lefts.get(first, ()):
            pair_counts[first + first] += self.counts[i] * (_run_before(words[i].partition(symbol)[0], first) % 2)
        for i in rights.get(second, ()):
            pair_counts[second + second] += self.counts[i] * (_run_after(words[i].partition(symbol)[2], second) % 2)
        for left, held in lefts.items():
            self._add(left + symbol, held, made, left + first)
        for right, held in rights.items():
            self._add(symbol + right, held, made, second + right)
        for new in list(made):
            self._add(new, [], made)
        pair_counts[pair] = 0

    def _add(self, new, held, made, old=None):
        """Enters a new pair: in the words `held` once, where it took the place of `old`, and in those of made[new]."""
        count = sum(map(self.counts.__getitem__, held))
        if old:
            self.pair_counts[old] -= count
        if new in made:
            more = made.pop(new)
            count += sum(map(self.counts.__getitem__, more))
            held += dict.fromkeys(more)
        self.holders[new] = held
        self.pair_counts[new] = count
        self.queue.buckets[count].append(new)

    def _merge_repeated(self, i, parts, pair, symbol, made):
        """The merge in one word that holds the pair several times; parts is what stands between them."""
        first, second = pair
        count, pair_counts = self.counts[i], self.pair_counts
        self.words[i] = symbol.join(parts)
        run = 0  # symbols in a row: n of them hold n // 2 pairs
        for before, after in pairwise(parts):
            run += 1
            if before:
                made[before[-1] + symbol].append(i)
                if before[-1] != first or _run_before(before, first) % 2 == 0:
                    pair_counts[before[-1] + first] -= count
            elif run > 1:
                pair_counts[second + first] -= count  # ABAB: the pair BA in the middle
                if run % 2 == 0:
                    made[symbol + symbol].append(i)
            if after:
                made[symbol + after[0]].append(i)
                if after[0] != second or _run_after(after, second) % 2 == 0:
                    pair_counts[second + after[0]] -= count
                run = 0


def _run_before(before, symbol):
    """Length of the run of symbols whose last was merged away: those left at the end of `before`, and that one."""
    return len(before) - len(before.rstrip(symbol)) + 1


def _run_after(after, symbol):
    return len(after) - len(after.lstrip(symbol)) + 1


class _PairQueue:
    """Gives the most frequent pair, the greatest of equals. Counts only fall, so a pair that has waited too high is put
    lower when it is met: nothing needs to be moved when a count changes."""

    def __init__(self, tokens, pair_counts):
        self.tokens, self.pair_counts = tokens, pair_counts
        self.buckets = _Buckets()  # count -> pairs, in any order
        for pair, count in pair_counts.items():
            self.buckets[count].append(pair)
        self.level, self.open = 0, []  # the highest bucket, sorted by the pairs' bytes

    def pop(self):
        """The next pair to merge; None when no pair is left."""
        while True:
            if not self.open:
                if not self.buckets.levels:
                    return None
                self.level = -self.buckets.levels[0]
            if self.level in self.buckets:
                self._fill()
            while self.open:
                pair = self.open.pop()[2]
                count = self.pair_counts[pair]
                if count == self.level:
                    return pair
                if count:
                    self.buckets[count].append(pair)

    def _fill(self):
        """Moves the pairs of the present level into `open`."""
        heapq.heappop(self.buckets.levels)  # the present level is the highest
        tokens, opened = self.tokens, []
        for pair in self.buckets.pop(self.level):
            count = self.pair_counts[pair]
            if count == self.level:
                opened.append((tokens[ord(pair[0])], tokens[ord(pair[1])], pair))
            elif count:
                self.buckets[count].append(pair)
        if self.open:
            for item in opened:  # few: pairs made at this very level
                insort(self.open, item)
        else:
            self.open = sorted(opened)


class _Buckets(dict):
    """{count: [pairs]} that keeps a heap of its (negated) counts."""

    def __init__(self):
        self.levels = []

    def __missing__(self, count):
        heapq.heappush(self.levels, -count)
        self[count] = pairs = []
        return pairs


# -- counting the words of files, in one process or several


def count_files(paths, special_tokens, processes=1):
    """{pre-token: count} of UTF-8 text files, cut at the special tokens, which are not counted themselves."""
    specials, counter = Specials(special_tokens), WordCounter()
    if processes == 1:
        for block in _file_blocks(paths, specials, BLOCK):
            counter.add_between(block, specials)
        return counter.counts()
    total = Counter()
    with _process_pool(processes) as pool:
        waiting = deque()
        for block in _file_blocks(paths, specials, PROCESS_BLOCK):
            waiting.append(pool.submit(_count_block, block, list(special_tokens)))
            if len(waiting) > 2 * processes:  # a few blocks per process: memory stays flat
                total.update(waiting.popleft().result())
        for future in waiting:
            total.update(future.result())
    return dict(total)


def _file_blocks(paths, specials, size):
    for path in paths:
        yield from specials.blocks(read_text(path), size)


def _count_block(block, special_tokens):
    counter = WordCounter()
    counter.add_between(block, Specials(special_tokens))
    return counter.counts()


@contextmanager
def _process_pool(processes):
    """Forked workers where that is safe: on Linux, when no other Python thread could hold a lock. They start at once
    and need no `if __name__ == "__main__"`. Spawned ones elsewhere."""
    method = "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"
    with warnings.catch_warnings():
        # Python warns of BLAS's threads, which sleep and which the workers, who only count strings, never call.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        with ProcessPoolExecutor(processes, multiprocessing.get_context(method)) as pool:
            yield pool
