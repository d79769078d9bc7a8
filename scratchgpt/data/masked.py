"""Masked tokens: the datasets of BERT, RoBERTa and SpanBERT (see scratchgpt/data/__init__.py).

Each draws an epoch at a time, as a pure function of (seed, epoch):

BERT      pairs of texts, half of which follow each other, with masks       new pairs and masks each epoch
RoBERTa   rows of full sentences, with masks                                new masks each epoch, or N that take turns
SpanBERT  rows of full sentences, with masked spans of whole words          new spans each epoch
"""

import math
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from scratchgpt.checkpoint import digest_of
from scratchgpt.data.corpus import documents_of
from scratchgpt.data.text import divided
from scratchgpt.errors import InputError
from scratchgpt.evaluation import TOKENS_AT_ONCE, over_batches, safe_exp
from scratchgpt.models import IGNORED
from scratchgpt.models.bert import training_flops_per_token
from scratchgpt.objectives import Vocabulary, dynamic_masks, full_sentences, mask_spans, mask_tokens, next_sentences

STREAM, HELD_OUT = 0x455043, 0x484C44  # keep these draws apart from each other and from all others
ROUNDS = 4  # masks, and pairs, with which the validation text is read
PART = 64  # rows of the validation text that are read while training


def encoded(text, tokenizer):
    """The documents of a text, lists of sentences, which are arrays of ids; each of them has an ordinary token."""
    special = list(tokenizer.special_tokens.values())
    documents = ([tokenizer.encode_array(each) for each in document] for document in documents_of(text))
    documents = ([ids for ids in document if not np.isin(ids, special).all()] for document in documents)
    return [document for document in documents if document]


def flat(documents):
    """(ids (N,), the length of each sentence, the number of sentences of each document)."""
    sentences = [sentence for document in documents for sentence in document]
    if not sentences:
        raise InputError("the text to train on, or to hold out, has no words; give more text")
    return np.concatenate(sentences), np.array(list(map(len, sentences))), np.array(list(map(len, documents)))


# ---- an epoch


class Pairs:
    """BERT's rows: next_sentences, then mask_tokens (Devlin et al. 2018, section 3.1)."""

    name = "BERT"

    def __init__(self, documents, tokenizer, n_ctx):
        self.documents, self.vocabulary, self.n_ctx = documents, Vocabulary.of(tokenizer), n_ctx
        if len(documents) < 2:
            raise InputError(
                f"there is {len(documents)} document to train on, or to hold out; BERT's next sentences need two of "
                "each: separate documents by blank lines, or train another --model"
            )

    def draw(self, rng, seed, epoch):
        pairs = with_words(next_sentences(self.documents, self.vocabulary, rng, self.n_ctx), self.vocabulary)
        drawn = vars(pairs) | vars(mask_tokens(pairs.input_ids, self.vocabulary, rng))
        filled = {"input_ids": self.vocabulary.pad, "labels": IGNORED, "token_type_ids": 0, "attention_mask": 0}
        return drawn | {name: widened(drawn[name], self.n_ctx, fill) for name, fill in filled.items()}


def with_words(rows, vocabulary):
    """The rows that have an ordinary token, which is to be masked; the end of a long sentence may be one [UNK]."""
    kept = ~vocabulary.is_special(rows.input_ids).all(1)
    return type(rows)(**{name: array[kept] for name, array in vars(rows).items()})


def widened(rows, width, fill):
    """rows (N, T) with columns of `fill` after them, (N, width)."""
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=fill)


class Sentences:
    """RoBERTa's rows: full_sentences, then dynamic_masks (Liu et al. 2019, section 4); masks: how many of a row take
    turns, or None for a new one each epoch."""

    name = "RoBERTa"

    def __init__(self, documents, tokenizer, n_ctx, masks=None):
        self.vocabulary, self.masks = Vocabulary.of(tokenizer), masks
        self.rows = with_words(full_sentences(documents, self.vocabulary, n_ctx), self.vocabulary)

    def draw(self, rng, seed, epoch):
        ids = self.rows.input_ids
        return vars(self.rows) | vars(dynamic_masks(ids, np.arange(len(ids)), self.vocabulary, seed, epoch, self.masks))


class Spans(Sentences):
    """SpanBERT's rows: full_sentences, then mask_spans (Joshi et al. 2020, section 3). A row is read as one text."""

    name = "SpanBERT"

    def __init__(self, documents, tokenizer, n_ctx):
        super().__init__(documents, tokenizer, n_ctx)
        self.word_starts = word_starts(self.rows.input_ids, tokenizer)

    def draw(self, rng, seed, epoch):
        masked = mask_spans(self.rows.input_ids, self.word_starts, self.vocabulary, rng)
        return vars(self.rows) | {"input_ids": masked.input_ids, "labels": masked.labels}


def word_starts(ids, tokenizer):
    """Where ids (B, T) begin a word."""
    if not hasattr(tokenizer, "word_starts"):
        raise InputError("the tokenizer does not say where words begin; SpanBERT needs a WordPiece tokenizer")
    return tokenizer.word_starts(ids)


# ---- what the validation text says


class MaskedEvaluation(NamedTuple):
    """nats_per_token, of the masked tokens; accuracy, the share of them whose likeliest token is right, and
    hidden_accuracy, of those that read [MASK]; tokens, how many were predicted; of next sentences nsp_nats,
    nsp_accuracy and pairs, of span boundaries span_nats, all None without them."""

    nats_per_token: float
    accuracy: float
    hidden_accuracy: float
    tokens: int
    nsp_nats: float | None = None
    nsp_accuracy: float | None = None
    pairs: int | None = None
    span_nats: float | None = None

    def rows(self):
        rows = [
            ("nats per masked token", f"{self.nats_per_token:.4f}"),
            ("perplexity", f"{safe_exp(self.nats_per_token):.2f}"),
            ("masked tokens right", f"{self.accuracy:.1%}"),
            ("of those out of sight", f"{self.hidden_accuracy:.1%}"),
        ]
        if self.pairs is not None:
            rows += [("next sentences right", f"{self.nsp_accuracy:.1%}"), ("nats per pair", f"{self.nsp_nats:.4f}")]
        if self.span_nats is not None:
            rows.append(("nats per token, from its span's boundary", f"{self.span_nats:.4f}"))
        pairs = "" if self.pairs is None else f", {self.pairs:,} pairs"
        return [*rows, ("measured on", f"{self.tokens:,} masked tokens{pairs}")]

    def figures(self):
        figures = {"val_tokens": self.tokens, "accuracy": self.accuracy, "hidden_accuracy": self.hidden_accuracy}
        more = {"val_nsp_loss": self.nsp_nats, "nsp_accuracy": self.nsp_accuracy, "val_span_loss": self.span_nats}
        return figures | {name: value for name, value in more.items() if value is not None}


class HeldOut:
    """A text that is not trained on, with masks and pairs that are the same in every run.

    rows: Pairs, Sentences or Spans of it. Its batch: ROUNDS drawings, one after another, {name: (N, ...)}.
    """

    def __init__(self, rows):
        self.rows = rows

    @cached_property
    def batch(self):
        rounds = [self.rows.draw(np.random.Generator(np.random.PCG64([HELD_OUT, each])), HELD_OUT, each)
                  for each in range(ROUNDS)]  # fmt: skip
        return {name: np.concatenate([each[name] for each in rounds]) for name in rounds[0]}

    def evaluate(self, model, threads=None, whole=True):
        batch = self.batch
        n_rows, width = batch["input_ids"].shape
        if not whole and n_rows > PART:
            chosen = np.linspace(0, n_rows - 1, PART).round().astype(int)
            batch = {name: array[chosen] for name, array in batch.items()}
        said = over_batches(model, divided(batch, max(1, TOKENS_AT_ONCE // width)), model.judge, threads)
        nats, right = map(np.concatenate, zip(*(each["mlm"] for each in said)))
        hidden = (batch["input_ids"] == self.rows.vocabulary.mask)[batch["labels"] != IGNORED]
        found = {}
        if model.config.nsp:
            losses, follows = map(np.concatenate, zip(*(each["nsp"] for each in said)))
            found = {"nsp_nats": losses.mean(), "nsp_accuracy": follows.mean()}
        if model.config.n_span:
            n_targets = model.count_targets(batch)[model.config.objectives.index("span")]
            found["span_nats"] = sum(float(each["span"][0].sum()) for each in said) / max(1, n_targets)
        found = {name: float(value) for name, value in found.items()}
        if model.config.nsp:
            found["pairs"] = len(follows)
        accuracies = float(right.mean()), float(right[hidden].mean()) if hidden.any() else 0.0
        return MaskedEvaluation(float(nats.mean()), *accuracies, len(nats), **found)


def guessers(counts, vocabulary, ids, labels):
    """{name: nats per masked token} of guessers that see no context, on the very tokens that are predicted.

    "uniform": every ordinary token equally likely. "unigram": the frequencies of the training text, with one added to
    every ordinary token's count (Laplace), since the text may hold tokens that were never seen. "in sight": the same,
    but it looks at the masked place itself: a fifth of the predicted tokens do not read [MASK] but the right token or a
    random one, equally often, so the token y there is right with probability p(y) / (p(y) + 1 / V).

    counts (V,): of the training text; ids, labels (B, T): of the validation text.
    """
    ordinary = vocabulary.ordinary_ids()
    p = np.zeros(vocabulary.size)
    p[ordinary] = counts[ordinary] + 1
    p /= p.sum()
    seen, said = ids[labels != IGNORED], labels[labels != IGNORED]
    kept = np.where(seen == vocabulary.mask, 0, p[seen] / (p[seen] + 1 / len(ordinary)))
    return {
        "uniform": math.log(len(ordinary)),
        "unigram": float(-np.log(p[said]).mean()),
        "in sight": float(-np.log(kept * (seen == said) + (1 - kept) * p[said]).mean()),
    }


# ---- the dataset


class Masked:
    """The dataset of a BERT, a RoBERTa or a SpanBERT.

    rows, held_out: Pairs, Sentences or Spans of the training documents and of the others; documents: both, (train,
    validation); shape: the BERTConfig; config: the TrainConfig. An epoch has as many rows as its first drawing; of
    another one's some are left out, or come twice, where there are more or fewer.
    """

    curve, unit = "mlm_loss", "token"

    def __init__(self, rows, held_out, documents, shape, config):
        self.rows, self.held_out, self.seed = rows, HeldOut(held_out), config.seed
        self.batch_size, self.rows_per_step = config.batch_size, config.batch_size * config.accumulate
        self.texts = [flat(each) for each in documents]
        (train_ids, *_), (val_ids, *_) = self.texts
        self.counts = np.bincount(train_ids, minlength=shape.vocab_size)
        self.n_train, self.n_val = len(train_ids), len(val_ids)
        self.tokens_per_step = self.rows_per_step * shape.n_ctx
        self.flops_per_token = training_flops_per_token(shape)
        self.title = (
            f"{rows.name}, {shape.n_layer} layers, {shape.n_head} heads, width {shape.n_embd}, context {shape.n_ctx}, "
            f"{shape.vocab_size:,} tokens"
        )
        self._epoch = lru_cache(maxsize=2)(self._draw)  # a batch touches one epoch, or two
        self.rows_per_epoch = len(self._epoch(0)[1])

    def _draw(self, epoch):
        """(rows {name: (N, ...)}, the order in which they come (rows_per_epoch,))."""
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch, STREAM]))
        rows = self.rows.draw(rng, self.seed, epoch)
        order = rng.permutation(len(rows["input_ids"]))
        return rows, np.resize(order, self.rows_per_epoch if epoch else len(order))

    def at(self, step):
        first = step * self.rows_per_step
        epochs, places = np.divmod(np.arange(first, first + self.rows_per_step), self.rows_per_epoch)
        parts = []
        for epoch in np.unique(epochs).tolist():
            rows, order = self._epoch(epoch)
            chosen = order[places[epochs == epoch]]
            parts.append({name: array[chosen] for name, array in rows.items()})
        return divided({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, self.batch_size)

    @cached_property
    def lines(self):
        batch = self.held_out.batch
        return guessers(self.counts, self.rows.vocabulary, batch["input_ids"], batch["labels"])

    def evaluate(self, model, threads=None, whole=True):
        return self.held_out.evaluate(model, threads, whole)

    def verdict(self, result):
        return what_masked_loss_means(result, self.lines)

    def digest(self):
        return digest_of(
            self.rows.name, getattr(self.rows, "masks", None), *(part for each in self.texts for part in each)
        )


def what_masked_loss_means(result, lines):
    """One sentence, or two: what a loss of masked tokens between the lines of guessers says."""
    loss, unigram, in_sight = result.nats_per_token, f"{lines['unigram']:.2f}", f"{lines['in sight']:.2f}"
    if loss >= lines["unigram"]:
        said = f"is not below the token frequencies ({unigram}): stuck at the unigram, no context helps yet."
    elif loss >= lines["in sight"]:
        said = (f"is below the token frequencies ({unigram}), but only because a fifth of the tokens it predicts are "
                f"in sight, which alone gives {in_sight}: stuck at the unigram, no context helps yet.")  # fmt: skip
    else:
        said = (f"is below the token frequencies ({unigram}), and below what one look at the masked place adds to them "
                f"({in_sight}), so the model uses context.")  # fmt: skip
    if result.pairs is not None:
        said += f" It says of {result.nsp_accuracy:.1%} of the pairs rightly whether B follows A; guessing gives 50%."
    return f"{loss:.2f} {said}"
