"""Next tokens, what a GPT is trained on: batches as a function of (seed, step), and the entropy lines of a text."""

import math
from functools import cached_property, lru_cache

import numpy as np

from scratchgpt.checkpoint import digest_of
from scratchgpt.errors import InputError
from scratchgpt.evaluation import as_ids, evaluate
from scratchgpt.models.gpt import training_flops_per_token

PART = 32  # windows of the validation text that are read while training; at the end it is read whole


class NextTokens:
    """A GPT's dataset (see scratchgpt/data/__init__.py): windows of n_ctx tokens and the token after each.

    train_ids, val_ids: (N,) ints; shape: the GPTConfig; config: the TrainConfig; n_bytes: of the validation text in
    UTF-8, or None. Raises InputError for ids out of range and too few of them.
    """

    curve, unit = "loss", "token"

    def __init__(self, train_ids, val_ids, shape, config, n_bytes=None):
        self.train_ids = as_ids(train_ids, shape.vocab_size, "the training text's token ids")
        self.val_ids = as_ids(val_ids, shape.vocab_size, "the validation text's token ids")
        if len(self.val_ids) < 2:
            raise InputError(f"the validation text has {len(self.val_ids)} tokens; expected at least 2: give more text")
        self.n_bytes, self.vocab_size, self.batch_size = n_bytes, shape.vocab_size, config.batch_size
        self.batches = Batches(self.train_ids, shape.n_ctx, config.batch_size * config.accumulate, config.seed)
        self.tokens_per_step = self.batches.rows_per_step * shape.n_ctx
        self.n_train, self.n_val = len(self.train_ids), len(self.val_ids)
        self.flops_per_token = training_flops_per_token(shape)
        self.title = (
            f"GPT, {shape.n_layer} layers, {shape.n_head} heads, width {shape.n_embd}, context {shape.n_ctx}, "
            f"{shape.vocab_size:,} tokens"
        )

    def at(self, step):
        return divided({"input_ids": self.batches.at(step)}, self.batch_size)

    @cached_property
    def lines(self):
        return entropy_lines(self.train_ids, self.vocab_size)

    def evaluate(self, model, threads=None, whole=True):
        if not whole:
            return evaluate(model, self.val_ids, None, threads, PART)
        return evaluate(model, self.val_ids, self.n_bytes, threads)

    def verdict(self, result):
        return what_loss_means(result.nats_per_token, self.lines)

    def digest(self):
        return digest_of(self.train_ids, self.val_ids)


def divided(batch, size):
    """A batch {name: (B, ...)} as micro-batches of `size` rows each, the last perhaps of fewer."""
    return [
        {name: array[start : start + size] for name, array in batch.items()}
        for start in range(0, len(batch["input_ids"]), size)
    ]


class Batches:
    """Training batches as a pure function of (seed, step).

    Epoch e starts its windows at a random offset in [0, n_ctx) and visits them in a random order, both drawn from
    PCG64 seeded with (seed, e). Batch `step` is rows step * rows_per_step and on of all epochs, one after another, so
    every token is a target about once an epoch. A row is n_ctx + 1 ids: n_ctx inputs and their n_ctx next tokens.
    """

    def __init__(self, ids, n_ctx, rows_per_step, seed):
        if len(ids) < n_ctx + 1:
            raise InputError(
                f"the training text has {len(ids):,} tokens, shorter than one context of {n_ctx} and its next token; "
                "give more text or a smaller n_ctx"
            )
        self.ids, self.n_ctx, self.rows_per_step, self.seed = ids, n_ctx, rows_per_step, seed
        self.n_offsets = min(n_ctx, len(ids) - n_ctx)  # offsets at which at least one window fits
        self.rows_per_epoch = (len(ids) - self.n_offsets) // n_ctx  # windows that fit at every such offset
        self._starts = lru_cache(maxsize=2)(self._draw_starts)  # a batch touches one epoch, or two

    def _draw_starts(self, epoch):
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        offset = rng.integers(self.n_offsets)
        return offset + self.n_ctx * rng.permutation(self.rows_per_epoch)

    def at(self, step):
        """The ids of update `step` (from 0): (rows_per_step, n_ctx + 1)."""
        rows = range(step * self.rows_per_step, (step + 1) * self.rows_per_step)
        starts = [self._starts(row // self.rows_per_epoch)[row % self.rows_per_epoch] for row in rows]
        return self.ids[np.array(starts)[:, None] + np.arange(self.n_ctx + 1)]  # (rows, n_ctx + 1)


def entropy_lines(ids, vocab_size):
    """{name: nats per token}: the loss, on this token stream, of better and better guessers that were counted on it.

    "uniform" ln V, every token equally likely; "unigram" H(x_t), token frequencies; "bigram" H(x_t | x_t-1); "trigram"
    H(x_t | x_t-2, x_t-1). Plug-in estimates (Shannon 1951): sum over contexts of -p log p, with p the counted share.
    """
    ids = np.asarray(ids, np.int64)
    lines = {"uniform": math.log(vocab_size)}
    context = np.zeros(len(ids), np.int64)  # a number that stands for the tokens before
    for order, name in enumerate(("unigram", "bigram", "trigram")):
        if len(ids) <= order:
            break
        if order:  # renumbered, so that V**3 never overflows
            pairs = context[:-1] * vocab_size + ids[order - 1 : -1]
            context = np.unique(pairs, return_inverse=True)[1]
        lines[name] = _entropy(context * vocab_size + ids[order:]) - _entropy(context)
    return lines


def _entropy(symbols):
    counts = np.unique(symbols, return_counts=True)[1]
    p = counts / len(symbols)
    return max(0.0, float(-(p * np.log(p)).sum()))


def what_loss_means(loss, lines):
    """One sentence: what a validation loss (nats per token) between the entropy lines says, and what it does not."""
    names = {name: f"{value:.2f}" for name, value in lines.items()}
    below = [name for name in ("uniform", "unigram", "bigram", "trigram") if name in lines and loss < lines[name]]
    says = {
        "": f"is no better than a uniform guess over the vocabulary ({names['uniform']}): nothing is learned yet.",
        "uniform": f"is below a uniform guess over the vocabulary ({names['uniform']}) but not below the token "
        f"frequencies ({names.get('unigram')}): no context helps yet.",
        "unigram": f"is below the token frequencies ({names.get('unigram')}), so the model uses context, but not below "
        f"the table of token pairs ({names.get('bigram')}), which was counted on the training text itself.",
        "bigram": f"is below the table of token pairs ({names.get('bigram')}): the model uses more than one token of "
        f"context; the table of triples ({names.get('trigram')}) was counted on the training text itself and has "
        "memorised much of it, so it is no bar for unseen text.",
        "trigram": f"is below even the table of token triples ({names.get('trigram')}), counted on the training text "
        "itself: the model uses more than two tokens of context.",
    }
    return f"{loss:.2f} {says[below[-1] if below else '']}"
