"""Skip-grams, what a word2vec is trained on: words with the words around them, and negatives (Mikolov et al. 2013b)."""

import math
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import to_host
from scratchgpt.checkpoint import digest_of
from scratchgpt.data.text import divided
from scratchgpt.errors import InputError
from scratchgpt.evaluation import as_ids, over_batches
from scratchgpt.models.word2vec import training_flops_per_pair

POWER = 0.75  # of the counts, for the negatives (section 2.2)
PAIRS_AT_ONCE = 4096  # when evaluating
PART = 16384  # pairs of the validation text that are read while training; at the end all are


class Draws:
    """What is left to chance: which words stay, how far a window reaches, which words are negatives.

    counts: (V,), how often each word occurs; window: how far a context may be; negatives: K; subsample: the share of
    the text above which a word is frequent, or 0. Raises InputError for values out of range.

    A word stays with probability keep, min(1, sqrt(subsample / its share of the text)) (section 2.3); what is left
    moves together. Its contexts are the words at most r away, r drawn from 1 to window (Mikolov et al. 2013a, section
    3.2), so that nearer ones come more often. Negatives are drawn with probabilities noise, counts to the power 0.75;
    one may be the context itself, as in the paper's equation 4 (its program leaves those out).
    """

    def __init__(self, counts, window=5, negatives=5, subsample=1e-3):
        for name, value, least in (("window", window, 1), ("negatives", negatives, 1), ("subsample", subsample, 0)):
            if not least <= value < math.inf:
                raise InputError(f"{name} is {value}; expected {least} or more")
        self.counts = np.asarray(counts)
        if not self.counts.any():
            raise InputError("no word occurs in the text; expected a text with words of the vocabulary")
        self.window, self.negatives, self.subsample = window, negatives, subsample
        share = self.counts / self.counts.sum()
        rare = 1 / self.counts.sum()  # of words that never occur, too
        self.keep = np.minimum(1, np.sqrt(subsample / np.maximum(share, rare))) if subsample else np.ones(len(share))
        self.noise = self.counts**POWER / (self.counts**POWER).sum()  # q
        self.kept = float((share * self.keep).sum())  # the share of the text that stays
        self.frequency = share * self.keep / self.kept  # of a context in a pair
        self._cumulated = np.cumsum(self.noise)
        self._cumulated[self.counts.nonzero()[0][-1] :] = 1  # rounding must not draw a word that never occurs

    def thin_out(self, ids, rng):
        """(the ids that stay, how far each one's contexts may be, which of ids they are)."""
        stays = np.flatnonzero(rng.random(len(ids)) < self.keep[ids])
        return ids[stays], rng.integers(1, self.window + 1, len(stays)), stays

    def candidates(self, contexts, rng):
        """(B, 1 + K): each context, and the negatives drawn for it."""
        drawn = np.searchsorted(self._cumulated, rng.random((len(contexts), self.negatives)), side="right")
        return np.concatenate([contexts[:, None], drawn.astype(contexts.dtype)], axis=1)

    @cached_property
    def lines(self):
        """ "coin": every product 0, (K + 1) ln 2; "frequencies": the best that products can do which know how frequent
        the context is but not what the centre was, log(p(c) / (K q(c))) (Levy & Goldberg 2014, eq. 7)."""
        used = self.noise > 0
        p, q, K = self.frequency[used], self.noise[used], self.negatives
        scores = np.log(p / (K * q))
        loss = (p * np.logaddexp(0, -scores)).sum() + K * (q * np.logaddexp(0, scores)).sum()
        return {"coin": (K + 1) * math.log(2), "frequencies": float(loss)}

    def digest(self):
        return digest_of(self.counts, [self.window, self.negatives, self.subsample])


class SkipGrams:
    """A word2vec's dataset (see scratchgpt/data/__init__.py): pairs of a word and one near it, each with negatives.

    train_ids, val_ids: (N,) ints; shape: the Word2VecConfig; config: the TrainConfig, whose batch_size counts words of
    the text; draws: Draws, by default those of train_ids' own counts. Raises InputError for ids out of range and texts
    too short.
    """

    curve, unit = "loss", "pair"

    def __init__(self, train_ids, val_ids, shape, config, draws=None):
        self.train_ids = as_ids(train_ids, shape.vocab_size, "the training text's word ids")
        if len(self.train_ids) < 2:
            raise InputError(
                f"the training text has {len(self.train_ids)} words of the vocabulary; expected at least 2"
            )
        self.draws = draws or Draws(np.bincount(self.train_ids, minlength=shape.vocab_size))
        self.held_out = HeldOut(as_ids(val_ids, shape.vocab_size, "the validation text's word ids"), self.draws)
        self.seed, self.parts = config.seed, config.accumulate
        self.n_train, self.n_val = len(self.train_ids), len(val_ids)
        self.tokens_per_step = config.batch_size * config.accumulate
        window, negatives = self.draws.window, self.draws.negatives
        pairs_of_a_word = self.draws.kept * (window + 1)  # on average
        self.flops_per_token = pairs_of_a_word * training_flops_per_pair(shape, negatives)
        self.lines = self.draws.lines
        self.title = (
            f"word2vec, width {shape.n_embd}, window {window}, {negatives} negatives, {shape.vocab_size:,} words"
        )
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def at(self, step):
        """The pairs of words step * tokens_per_step and on of all epochs, one after another; each epoch visits the
        places of the text in a random order. [{"input_ids" (B,), "context_ids" (B, 1 + K)}], `accumulate` of them."""
        n_words, centres = self.tokens_per_step, []
        while not len(centres):  # frequent words alone may all have been left out: then it reads on
            centres, contexts = self._pairs_of(step * self.tokens_per_step, n_words)
            n_words *= 2
        rng = np.random.Generator(np.random.PCG64([self.seed, step, 1]))
        batch = {"input_ids": centres, "context_ids": self.draws.candidates(contexts, rng)}
        return divided(batch, -(-len(centres) // self.parts))

    def _draw_epoch(self, epoch):
        """(the words that stay, how far each one's contexts may be, an order of the text's places, which of the words
        that stay is at each place or -1) of an epoch."""
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        kept, reach, stays = self.draws.thin_out(self.train_ids, rng)
        place = np.full(self.n_train, -1)
        place[stays] = np.arange(len(stays))
        return kept, reach, rng.permutation(self.n_train), place

    def _pairs_of(self, first, n_words):
        centres, contexts = [], []
        row, last = first, first + n_words
        while row < last:
            kept, reach, order, place = self._epoch(row // self.n_train)
            start = row % self.n_train
            stop = min(self.n_train, start + last - row)
            places = place[order[start:stop]]
            pairs = pairs_around(kept, places[places >= 0], reach, self.draws.window)
            centres.append(pairs[0])
            contexts.append(pairs[1])
            row += stop - start
        return np.concatenate(centres), np.concatenate(contexts)

    def evaluate(self, model, threads=None, whole=True):
        return self.held_out.evaluate(model, threads, whole)

    def verdict(self, result):
        loss, (coin, frequencies) = result.nats_per_token, self.lines.values()
        if loss >= coin:
            return f"{loss:.2f} is no better than a coin tossed for each candidate ({coin:.2f}): nothing is learned."
        if loss >= frequencies:
            return (f"{loss:.2f} is below a coin tossed for each candidate ({coin:.2f}), but not below what the words' "
                    f"frequencies can do ({frequencies:.2f}): no vector knows its word's company yet.")  # fmt: skip
        return (f"{loss:.2f} is below what the words' frequencies can do ({frequencies:.2f}): the vectors know which "
                "words keep company.")  # fmt: skip

    def digest(self):
        return digest_of(self.train_ids, self.held_out.ids, self.draws.digest())


class HeldOut:
    """A text to measure a word2vec on: its pairs and their negatives are drawn once, the same every time.

    ids: (N,) ints; draws: of the training text. Raises InputError for a text in which no pair is left.
    """

    def __init__(self, ids, draws):
        rng = np.random.Generator(np.random.PCG64([0, 0, 2]))
        kept, reach, _ = draws.thin_out(ids, rng)
        self.centres, contexts = pairs_around(kept, np.arange(len(kept)), reach, draws.window)
        if not len(self.centres):
            raise InputError(f"the text to measure on has {len(ids)} words of the vocabulary, of which {len(kept)} are "
                             "left after subsampling: no pair; give more text")  # fmt: skip
        self.ids, self.candidates = ids, draws.candidates(contexts, rng)

    def evaluate(self, model, threads=None, whole=True):
        """A PairEvaluation on all the pairs, or on PART of them, evenly spaced."""
        centres, candidates = self.centres, self.candidates
        if not whole and len(centres) > PART:
            chosen = np.linspace(0, len(centres) - 1, PART).round().astype(int)
            centres, candidates = centres[chosen], candidates[chosen]

        def measure(batch):
            scores = to_host(model.logits(batch))
            return float(to_host(model.loss(batch, denominator=1)[0])), int((scores[:, 0] > scores[:, 1:].max(1)).sum())

        batches = divided({"input_ids": centres, "context_ids": candidates}, PAIRS_AT_ONCE)
        losses, first = zip(*over_batches(model, batches, measure, threads))
        n = len(centres)
        return PairEvaluation(math.fsum(losses) / n, sum(first) / n, candidates.shape[1] - 1, n)


class PairEvaluation(NamedTuple):
    """nats_per_token: the loss of a pair with its negatives; first: in what share of the pairs the true context has a
    larger product with the centre than every negative; negatives: how many each has; pairs: how many were measured."""

    nats_per_token: float
    first: float
    negatives: int
    pairs: int

    def rows(self):
        return [
            ("nats per pair", f"{self.nats_per_token:.4f}"),
            ("true context before its negatives", f"{self.first:.1%} (by chance {1 / (1 + self.negatives):.1%})"),
            ("measured on", f"{self.pairs:,} pairs"),
        ]

    def figures(self):
        return {"first": self.first, "val_pairs": self.pairs}


def pairs_around(ids, places, reach, window):
    """(centres (B,), contexts (B,)): ids at each of `places`, with each word at most reach[place] places away.

    ids=[7, 8, 9], places=[1], reach=[., 1, .] -> centres [8, 8], contexts [7, 9]
    """
    offsets = np.delete(np.arange(-window, window + 1), window)  # all but 0
    near = places[:, None] + offsets  # (n, 2 window)
    inside = (np.abs(offsets) <= reach[places, None]) & (near >= 0) & (near < len(ids))
    row, column = np.nonzero(inside)
    return ids[places[row]], ids[near[row, column]]
