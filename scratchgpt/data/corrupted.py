"""Corrupted text: the dataset of T5 (see scratchgpt/data/__init__.py), from one part of a text to another.

span    what the decoder says are the spans that were hidden in what the encoder reads
prefix  what the decoder says is how a row goes on whose beginning the encoder reads
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from scratchgpt.checkpoint import digest_of
from scratchgpt.data.text import Batches, divided, entropy_lines
from scratchgpt.errors import InputError
from scratchgpt.evaluation import TOKENS_AT_ONCE, as_ids, over_batches, safe_exp
from scratchgpt.models.t5 import training_flops
from scratchgpt.objectives import corrupt_spans, prefix_lm, raw_length, sentinel_ids
from scratchgpt.objectives.t5 import span_counts

OBJECTIVES = ("span", "prefix")
STREAM, HELD_OUT, COUNTED = 0x543543, 0x484C44, 0x434E54  # keep these draws apart from each other and from all others
PART = 64  # rows of the validation text that are read while training


class CorruptedEvaluation(NamedTuple):
    """nats_per_token, of the decoder's targets; hidden_nats, of those that are text, neither sentinels nor the end;
    accuracy, the share of these whose likeliest token is right after the right ones before it; spans_right, the share
    of the spans all of which is right, where it ends included (None for prefixes); tokens, how many of text."""

    nats_per_token: float
    hidden_nats: float
    accuracy: float
    spans_right: float | None
    tokens: int

    def rows(self):
        spans = [] if self.spans_right is None else [("whole spans right", f"{self.spans_right:.1%}")]
        return [
            ("nats per target", f"{self.nats_per_token:.4f}"),
            ("nats per hidden token", f"{self.hidden_nats:.4f}"),
            ("perplexity of hidden tokens", f"{safe_exp(self.hidden_nats):.2f}"),
            ("hidden tokens right", f"{self.accuracy:.1%}"),
            *spans,
            ("measured on", f"{self.tokens:,} hidden tokens"),
        ]

    def figures(self):
        spans = {} if self.spans_right is None else {"spans_right": self.spans_right}
        return {"val_tokens": self.tokens, "hidden_nats": self.hidden_nats, "accuracy": self.accuracy} | spans


class Corruption:
    """How rows of a text become inputs and targets; width: how many tokens a row has, so that its inputs with their
    end are shape.n_ctx at most. tokenizer: with the end of sequence and, for spans, enough sentinels."""

    def __init__(self, tokenizer, shape, objective="span"):
        self.objective, self.eos = objective, shape.eos_id
        self.special = np.array(sorted(tokenizer.special_tokens.values()))
        if objective == "span":
            self.sentinels, self.width = sentinel_ids(tokenizer), raw_length(shape.n_ctx)
        else:
            self.sentinels, self.width = None, shape.n_ctx - 1

    def __call__(self, rows, rng):
        """{"input_ids": (B, S), "labels": (B, T)} of rows (B, width)."""
        if self.objective == "span":
            said = corrupt_spans(rows, rng, self.sentinels, self.eos)
        else:
            said = prefix_lm(rows, rng, self.eos)
        return {"input_ids": said.inputs, "labels": said.targets}

    def mean_lengths(self):
        """(tokens of input, tokens of target) of a row on average, their ends included."""
        if self.objective == "prefix":
            return self.width / 2 + 1, self.width / 2 + 1
        hidden, spans = span_counts(self.width)
        return self.width - hidden + spans + 1, hidden + spans + 2

    def windows(self, ids):
        """The rows (N, width) of a whole text, one after another, what is left over at its end aside; one row of all of
        it where it is shorter."""
        width = min(self.width, len(ids))
        return ids[: len(ids) // width * width].reshape(-1, width)


class HeldOut:
    """A text that is not trained on, corrupted the same way in every run; ids: (N,)."""

    def __init__(self, ids, corruption):
        if len(ids) < 2:
            raise InputError(f"the text has {len(ids)} tokens; hiding one and keeping one needs at least 2")
        self.corruption, self.rows = corruption, corruption.windows(ids)

    def batches(self, rows):
        size = max(1, TOKENS_AT_ONCE // rows.shape[1])
        rng = np.random.Generator(np.random.PCG64(HELD_OUT))
        return [self.corruption(rows[start : start + size], rng) for start in range(0, len(rows), size)]

    def evaluate(self, model, threads=None, whole=True):
        rows = self.rows
        if not whole and len(rows) > PART:
            rows = rows[np.linspace(0, len(rows) - 1, PART).round().astype(int)]
        batches = self.batches(rows)
        said = over_batches(model, batches, model.judge, threads)
        targets = np.concatenate([batch["labels"].reshape(-1) for batch in batches])
        nats, right = map(np.concatenate, zip(*said))
        text = ~np.isin(targets, self.corruption.special)
        spans = None
        if self.corruption.sentinels is not None:
            spans = float(np.mean(np.concatenate([self.spans_right(*each) for each in zip(batches, said)])))
        return CorruptedEvaluation(
            float(nats.mean()), float(nats[text].mean()), float(right[text].mean()), spans, int(text.sum())
        )

    def spans_right(self, batch, said):
        """Of each span whether all its tokens and the sentinel after them are right, (spans of the batch,)."""
        targets, right = batch["labels"], said[1].reshape(batch["labels"].shape)
        marks = np.isin(targets, self.corruption.sentinels)
        span = marks.cumsum(1) - marks  # how many sentinels stand before
        wrong = [((span == n) & ~right).any(1) for n in range(1, int(marks[0].sum()))]
        return ~np.concatenate(wrong)


class Corrupted:
    """The dataset of a T5: rows of a text, corrupted anew whenever they come.

    train_ids, val_ids: (N,) ints; shape: the T5Config; config: the TrainConfig. Raises InputError for ids out of range
    and too few of them.
    """

    curve, unit = "loss", "token"

    def __init__(self, train_ids, val_ids, tokenizer, shape, config, objective="span"):
        self.train_ids = as_ids(train_ids, shape.vocab_size, "the training text's token ids")
        self.val_ids = as_ids(val_ids, shape.vocab_size, "the validation text's token ids")
        self.corruption = Corruption(tokenizer, shape, objective)
        self.held_out = HeldOut(self.val_ids, self.corruption)
        self.seed, self.batch_size, rows = config.seed, config.batch_size, config.batch_size * config.accumulate
        self.batches = Batches(self.train_ids, self.corruption.width - 1, rows, config.seed)
        self.n_train, self.n_val = len(self.train_ids), len(self.val_ids)
        self.vocab_size = shape.vocab_size
        inputs, targets = self.corruption.mean_lengths()
        self.tokens_per_step = round(rows * (inputs + targets))
        self.flops_per_token = training_flops(shape, inputs, targets) / (inputs + targets)
        self.title = (
            f"T5, {objective}, {shape.n_layer} + {shape.decoder_layers} layers, {shape.n_head} heads, width "
            f"{shape.n_embd}, context {shape.n_ctx}, {shape.vocab_size:,} tokens"
        )

    def at(self, step):
        rng = np.random.Generator(np.random.PCG64([self.seed, step, STREAM]))
        return divided(self.corruption(self.batches.at(step), rng), self.batch_size)

    @cached_property
    def targets(self):
        """Those of the training text, read once from its beginning to its end, (N,)."""
        rng = np.random.Generator(np.random.PCG64(COUNTED))
        rows = self.corruption.windows(self.train_ids)
        return np.concatenate([self.corruption(row[None], rng)["labels"][0] for row in rows])

    @cached_property
    def lines(self):
        """Of guessers that were counted on the targets of the training text, and do not see the input."""
        lines = entropy_lines(self.targets, self.vocab_size)
        return {name: lines[name] for name in ("uniform", "unigram", "bigram") if name in lines}

    @cached_property
    def hidden_unigram(self):
        """The loss of the training text's token frequencies, with one added to every count (Laplace), on the validation
        text's hidden tokens, sentinels and ends aside."""
        counts = np.bincount(self.train_ids, minlength=self.vocab_size) + 1.0
        targets = np.concatenate([each["labels"].reshape(-1) for each in self.held_out.batches(self.held_out.rows)])
        targets = targets[~np.isin(targets, self.corruption.special)]
        return float(np.log(counts.sum() / counts[targets]).mean())

    def evaluate(self, model, threads=None, whole=True):
        return self.held_out.evaluate(model, threads, whole)

    def verdict(self, result):
        return what_corrupted_loss_means(result, self.lines["unigram"], self.hidden_unigram)

    def digest(self):
        return digest_of(self.corruption.objective, self.train_ids, self.val_ids)


def what_corrupted_loss_means(result, unigram, hidden_unigram):
    """One sentence: what the loss of the targets, and that of the hidden tokens among them, says."""
    said = f"{result.nats_per_token:.2f} for each target, and {result.hidden_nats:.2f} for each hidden token"
    if result.hidden_nats < hidden_unigram:
        return (f"{said}, are held against the frequencies of the targets ({unigram:.2f}) and of the hidden tokens "
                f"({hidden_unigram:.2f}): the model uses what it reads.")  # fmt: skip
    return (f"{said}; the frequencies of the hidden tokens alone give {hidden_unigram:.2f}: stuck at the unigram, what "
            "the model reads does not help yet.")  # fmt: skip
