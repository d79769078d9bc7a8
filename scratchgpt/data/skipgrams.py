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


class SkipGrams:
    """A word2vec's dataset (see scratchgpt/data/__init__.py): pairs of a word and one near it, each with negatives.

    train_ids, val_ids: (N,) ints; shape: the Word2VecConfig; config: the TrainConfig, whose batch_size counts words of
    the text; window: how far a context may be; negatives: K; subsample: the share of the text above which a word is
    frequent, or 0. Raises InputError for values out of range and texts too short.

    Each epoch draws anew which words stay, each with probability min(1, sqrt(subsample / its share of the text))
    (section 2.3); what is left moves together. A word's contexts are the words at most r away, r drawn from 1 to window
    (Mikolov et al. 2013a, section 3.2), so that nearer ones come more often. Negatives are drawn by counts to the power
    0.75; one may be the context itself, as in the paper's equation 4 (its program leaves those out).
    """

    curve = "loss"

    def __init__(self, train_ids, val_ids, shape, config, window=5, negatives=5, subsample=1e-3):
        for name, value, least in (("window", window, 1), ("negatives", negatives, 1), ("subsample", subsample, 0)):
            if not least <= value < math.inf:
                raise InputError(f"{name} is {value}; expected {least} or more")
        self.train_ids = as_ids(train_ids, shape.vocab_size, "the training text's word ids")
        self.val_ids = as_ids(val_ids, shape.vocab_size, "the validation text's word ids")
        for what, ids in (("training", self.train_ids), ("validation", self.val_ids)):
            if len(ids) < 2:
                raise InputError(f"the {what} text has {len(ids)} words of the vocabulary; expected at least 2, a pair")
        self.window, self.negatives, self.subsample = window, negatives, subsample
        self.seed, self.parts = config.seed, config.accumulate
        self.n_train, self.n_val = len(self.train_ids), len(self.val_ids)
        self.tokens_per_step = config.batch_size * config.accumulate
        counts = np.bincount(self.train_ids, minlength=shape.vocab_size)
        share = counts / self.n_train
        self.keep = np.minimum(1.0, np.sqrt(subsample / np.maximum(share, 1 / self.n_train))) if subsample else (
            np.ones(len(share)))  # fmt: skip
        self.noise = counts**POWER / (counts**POWER).sum()  # q
        self.frequency = share * self.keep / (share * self.keep).sum()  # of a context in a pair
        self.flops_per_token = (  # a word that stays has window + 1 contexts on average
            (share * self.keep).sum() * (window + 1) * training_flops_per_pair(shape, negatives)
        )
        self.title = (
            f"word2vec, width {shape.n_embd}, window {window}, {negatives} negatives, {shape.vocab_size:,} words"
        )
        self._cumulated = np.append(np.cumsum(self.noise)[:-1], 1.0)
        self._cumulated[counts.nonzero()[0][-1] :] = 1.0  # rounding must not draw a word that never occurs
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def at(self, step):
        """The pairs of words step * tokens_per_step and on of all epochs, one after another; each epoch visits the
        places of the text in a random order. [{"input_ids" (B,), "context_ids" (B, 1 + K)}], `accumulate` of them."""
        n_words, centres = self.tokens_per_step, []
        while not len(centres):  # frequent words alone may all have been left out: then it reads on
            centres, contexts = self._pairs_of(step * self.tokens_per_step, n_words)
            n_words *= 2
        rng = np.random.Generator(np.random.PCG64([self.seed, step, 1]))
        batch = {"input_ids": centres, "context_ids": self._candidates(contexts, rng)}
        return divided(batch, -(-len(centres) // self.parts))

    def _draw_epoch(self, epoch):
        """(the words that stay, how far each one's contexts may be, an order of the text's places, which of the words
        that stay is at each place or -1) of an epoch."""
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        kept, reach, place = self._thin_out(self.train_ids, rng)
        return kept, reach, rng.permutation(self.n_train), place

    def _thin_out(self, ids, rng):
        stays = rng.random(len(ids)) < self.keep[ids]
        kept = ids[stays]
        return kept, rng.integers(1, self.window + 1, len(kept)), np.where(stays, np.cumsum(stays) - 1, -1)

    def _pairs_of(self, first, n_words):
        centres, contexts = [], []
        row, last = first, first + n_words
        while row < last:
            kept, reach, order, place = self._epoch(row // self.n_train)
            start = row % self.n_train
            stop = min(self.n_train, start + last - row)
            places = place[order[start:stop]]
            pairs = pairs_around(kept, places[places >= 0], reach, self.window)
            centres.append(pairs[0])
            contexts.append(pairs[1])
            row += stop - start
        return np.concatenate(centres), np.concatenate(contexts)

    def _candidates(self, contexts, rng):
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

    @cached_property
    def _validation(self):
        """(centres, candidates) of the whole validation text, drawn once in its order, with a seed of its own."""
        rng = np.random.Generator(np.random.PCG64([self.seed, 0, 2]))
        kept, reach, _ = self._thin_out(self.val_ids, rng)
        centres, contexts = pairs_around(kept, np.arange(len(kept)), reach, self.window)
        if not len(centres):
            raise InputError("the validation text has no pair of words left after subsampling; give more text")
        return centres, self._candidates(contexts, rng)

    def evaluate(self, model, threads=None, whole=True):
        centres, candidates = self._validation
        if not whole and len(centres) > PART:
            chosen = np.linspace(0, len(centres) - 1, PART).round().astype(int)
            centres, candidates = centres[chosen], candidates[chosen]

        def measure(batch):
            scores = to_host(model.logits(batch))
            return float(to_host(model.loss(batch, denominator=1)[0])), int((scores[:, 0] > scores[:, 1:].max(1)).sum())

        batches = divided({"input_ids": centres, "context_ids": candidates}, PAIRS_AT_ONCE)
        losses, first = zip(*over_batches(model, batches, measure, threads))
        n = len(centres)
        return PairEvaluation(math.fsum(losses) / n, sum(first) / n, self.negatives, n)

    def verdict(self, result):
        loss, (coin, frequencies) = result.nats_per_token, self.lines.values()
        if loss >= coin:
            return (
                f"{loss:.2f} is no better than a coin tossed for each candidate ({coin:.2f}): nothing is learned yet."
            )
        if loss >= frequencies:
            return (f"{loss:.2f} is below a coin tossed for each candidate ({coin:.2f}), but not below what the words' "
                    f"frequencies can do ({frequencies:.2f}): no vector knows its word's company yet.")  # fmt: skip
        return (f"{loss:.2f} is below what the words' frequencies can do ({frequencies:.2f}): the vectors know which "
                "words keep company.")  # fmt: skip

    def digest(self):
        return digest_of(self.train_ids, self.val_ids, [self.window, self.negatives, self.subsample])


def pairs_around(ids, places, reach, window):
    """(centres (B,), contexts (B,)): ids at each of `places`, with each word at most reach[place] places away.

    ids=[7, 8, 9], places=[1], reach=[., 1, .] -> centres [8, 8], contexts [7, 9]
    """
    offsets = np.delete(np.arange(-window, window + 1), window)  # all but 0
    near = places[:, None] + offsets  # (n, 2 window)
    inside = (np.abs(offsets) <= reach[places, None]) & (near >= 0) & (near < len(ids))
    row, column = np.nonzero(inside)
    return ids[places[row]], ids[near[row, column]]
