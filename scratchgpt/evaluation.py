"""How well a model predicts a text: nats per token, bits per byte, perplexity."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import available_cores, blas_threads, silence_float_warnings, to_host
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED

TOKENS_AT_ONCE = 2048  # per thread; bounds the memory of a batch whatever n_ctx is


class Evaluation(NamedTuple):
    """nats_per_token; bits_per_byte (None when the bytes are unknown); perplexity; tokens predicted; bytes."""

    nats_per_token: float
    bits_per_byte: float | None
    perplexity: float
    tokens: int
    n_bytes: int | None

    def rows(self):
        """[(name, text)], as a table shows it."""
        rows = [("nats per token", f"{self.nats_per_token:.4f}")]
        if self.n_bytes is not None:
            rows.append(("bits per byte", f"{self.bits_per_byte:.4f}"))
        measured = f"{self.tokens:,} tokens" + (f", {self.n_bytes:,} bytes" if self.n_bytes is not None else "")
        return [*rows, ("perplexity", f"{self.perplexity:.2f}"), ("measured on", measured)]

    def figures(self):
        """{name: value} besides the loss, as metrics.jsonl keeps them."""
        return {"val_tokens": self.tokens, "bits_per_byte": self.bits_per_byte, "perplexity": self.perplexity}


def evaluate(model, ids, n_bytes=None, threads=None, max_windows=None):
    """Evaluation of a model on a whole text, given as token ids (N,) and its length in UTF-8 bytes.

    The rule: windows of n_ctx tokens advance by n_ctx / 2, so that every token is predicted exactly once, with at least
    n_ctx / 2 tokens before it (except in the first window); the text's very first token has none and is not predicted.
    bits per byte = sum of nats / ln 2 / bytes, comparable between tokenizers; perplexity = exp(nats per token).
    max_windows: only that many windows, evenly spaced (a cheap estimate; bits per byte is then None).
    Raises InputError for ids out of the vocabulary or fewer than two.
    """
    inputs, labels = sliding_windows(as_ids(ids, model.config.vocab_size), model.config.n_ctx)
    if max_windows is not None and len(inputs) > max_windows:
        chosen = np.linspace(0, len(inputs) - 1, max_windows).round().astype(int)
        inputs, labels, n_bytes = inputs[chosen], labels[chosen], None
    rows = max(1, TOKENS_AT_ONCE // inputs.shape[1])
    batches = [
        {"input_ids": inputs[start : start + rows], "labels": labels[start : start + rows]}
        for start in range(0, len(inputs), rows)
    ]

    def nats(batch):
        return float(to_host(model.loss(batch, denominator=1, balance=False)[0]))

    total = math.fsum(over_batches(model, batches, nats, threads))
    tokens = model.count_targets({"input_ids": inputs, "labels": labels})
    mean = total / tokens
    return Evaluation(mean, total / math.log(2) / n_bytes if n_bytes else None, safe_exp(mean), tokens, n_bytes)


def over_batches(model, batches, measure, threads=None):
    """[measure(batch)] for each of the batches, in order; they share `threads` (default: one per core), each of which
    has one BLAS thread. On a GPU there is one. What is infinite is an answer; the caller looks."""
    threads = (threads or available_cores()) if model.xp is np else 1

    def measured(batch):
        with silence_float_warnings(model.xp):  # per thread
            return measure(batch)

    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(measured, batches))


def as_ids(ids, vocab_size, what="token ids"):
    """Token ids as a one-dimensional int32 array on the host, checked once: an id out of range would wrap silently.

    Raises InputError, with the first wrong id and its place, when one is outside [0, vocab_size).
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise InputError(f"{what} have shape {ids.shape} and dtype {ids.dtype}; expected one row of whole numbers")
    wrong = (ids < 0) | (ids >= vocab_size)
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(
            f"{what}: id {int(ids[place])} at position {place:,} is out of range; the model knows 0 to "
            f"{vocab_size - 1}; use the tokenizer the model was made for"
        )
    return ids.astype(np.int32)


def sliding_windows(ids, n_ctx):
    """(input_ids, labels), both (W, T): windows over a whole text in which every token but the first is a target once.

    Windows advance by n_ctx / 2. The first predicts all its tokens; every later one predicts only what no window
    before it did, so those tokens are predicted from at least n_ctx / 2 tokens; its other labels are -100.
    """
    if len(ids) < 2:
        raise InputError(f"the text has {len(ids)} tokens; predicting one from another needs at least 2")
    width = min(len(ids), n_ctx + 1)  # the model shifts inside: n_ctx inputs
    last = len(ids) - width
    starts = np.append(np.arange(0, last, max(1, n_ctx // 2)), last)
    places = starts[:, None] + np.arange(width)  # (W, T): each token's place in the text
    predicted_before = np.append(1, starts[:-1] + width)  # the first place that no earlier window predicts
    labels = np.where(places >= predicted_before[:, None], ids[places], IGNORED)
    return ids[places], labels


def safe_exp(x):
    return math.exp(x) if x < 700 else math.inf  # math.exp raises above 709
