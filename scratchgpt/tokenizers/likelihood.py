"""Learning WordPiece's vocabulary by likelihood (Schuster & Nakajima 2012, section 3; Wu et al. 2016, section 4.1).

BPE merges the pair that occurs most often. WordPiece merges the pair whose union makes the text most likely, when
every symbol is drawn on its own with its own frequency: a merge of a and b multiplies the probability of each place
where they stand together by

    score(a, b) = count(ab) / (count(a) * count(b))

up to a constant: how much more often a and b meet than they would by chance. "qu" wins over "th", although "th" is
far more frequent, because q hardly occurs elsewhere.

>>> learn_pieces({"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}, 9, min_count=1)
['##g', '##n', '##s', '##u', 'b', 'h', 'p', '##gs', 'pu']

The score alone prefers what is rare: two symbols that occur once, together, reach the highest score there is. So pairs
compete only with pairs that occur about as often: see `learn_pieces`.
"""

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

PREFIX = "##"  # written before a piece that continues a word


def symbols_of(word):
    """symbols_of("hug") -> ["h", "##u", "##g"]."""
    return [word[0], *(PREFIX + character for character in word[1:])]


def join(left, right):
    """join("h", "##u") -> "hu"; join("##u", "##g") -> "##ug"."""
    return left + right.removeprefix(PREFIX)


def alphabet_of(word_counts):
    """The pieces that every vocabulary starts with: each character, as it begins a word and as it continues one."""
    return sorted({symbol for word in word_counts for symbol in symbols_of(word)})


def learn_pieces(word_counts, size, min_count=None):
    """The first `size` pieces: the alphabet, then the unions, best score first; fewer when no pair is left.

    word_counts: {word: how often it occurs}. A pair that occurs less than min_count times is not merged. min_count None
    starts at the count of the most frequent pair and halves it whenever no pair is left that occurs so often. Among
    equal scores the more frequent pair wins, then the one that comes first in the alphabet.
    """
    learner = Learner(word_counts)
    floor = min_count or max(1, learner.table[0].max())
    while len(learner.pieces) < size:
        pair = learner.best(floor)
        if pair is not None:
            learner.merge(pair)
        elif min_count is None and floor > 1:
            floor = max(1, floor / 2)
        else:
            break
    return list(learner.pieces)


class Learner:
    """The state of the loop. Symbols and pairs are numbered, so that the scores of all pairs are one NumPy expression.

    words[i] is a list of symbols and occurs weights[i] times. symbol_counts[n] and table[0, n] are exact after each
    merge: how often symbol n and pair n occur; table[1:, n] are the numbers of the pair's two symbols.
    """

    def __init__(self, word_counts):
        self.pieces = dict.fromkeys(alphabet_of(word_counts))  # in order; two pairs may have the same union
        self.words = [symbols_of(word) for word in word_counts]
        self.weights = list(word_counts.values())
        self.symbol_numbers, self.symbol_counts = {}, np.zeros(1024, np.int64)
        self.pair_numbers, self.table = {}, np.zeros((3, 1024), np.int64)
        self.holders = defaultdict(set)  # pair -> the words that hold it, and some that no longer do
        for i in range(len(self.words)):
            self.count(i, self.weights[i])

    def count(self, i, weight):
        """Adds word i's symbols and pairs, `weight` times; takes them away where weight is negative."""
        word = self.words[i]
        for symbol, times in Counter(word).items():
            number = self.number_of(symbol)
            self.symbol_counts[number] += weight * times
        for pair, times in Counter(pairwise(word)).items():
            number = self.number_of_pair(pair)
            self.table[0, number] += weight * times
            self.holders[pair].add(i)

    def number_of(self, symbol):
        number = self.symbol_numbers.setdefault(symbol, len(self.symbol_numbers))
        if number == len(self.symbol_counts):
            self.symbol_counts = np.append(self.symbol_counts, np.zeros_like(self.symbol_counts))  # twice the room
        return number

    def number_of_pair(self, pair):
        number = self.pair_numbers.get(pair)
        if number is None:
            number = self.pair_numbers[pair] = len(self.pair_numbers)
            if number == self.table.shape[1]:
                self.table = np.append(self.table, np.zeros_like(self.table), axis=1)
            self.table[1:, number] = self.number_of(pair[0]), self.number_of(pair[1])
        return number

    def best(self, floor):
        """The pair with the highest score of those that occur `floor` times or more; None when there is none."""
        counts, lefts, rights = self.table[:, self.table[0] >= floor]
        if not len(counts):
            return None
        scores = counts / (self.symbol_counts[lefts] * self.symbol_counts[rights])  # equal scores are equal floats
        winners = np.flatnonzero(scores == scores.max())
        symbols = list(self.symbol_numbers)
        return min((-counts[i], symbols[lefts[i]], symbols[rights[i]]) for i in winners)[1:]

    def merge(self, pair):
        """Replaces the pair by its union, from the left, in every word that holds it."""
        union = join(*pair)
        self.pieces[union] = None
        for i in self.holders.pop(pair):
            self.count(i, -self.weights[i])
            self.words[i] = united(self.words[i], pair, union)
            self.count(i, self.weights[i])


def united(word, pair, union):
    """united(["h", "##u", "##g"], ("h", "##u"), "hu") -> ["hu", "##g"]."""
    symbols, i = [], 0
    while i < len(word):
        together = tuple(word[i : i + 2]) == pair
        symbols.append(union if together else word[i])
        i += 2 if together else 1
    return symbols
