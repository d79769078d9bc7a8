"""How well a model predicts a text: nats per token, bits per byte, perplexity."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import available_cores, blas_threads, silence_float_warnings, to_host
from scratchgpt.data import as_ids, sliding_windows

TOKENS_AT_ONCE = 2048  # per thread; bounds the memory of a batch whatever n_ctx is


class Evaluation(NamedTuple):
    """nats_per_token; bits_per_byte (None when the bytes are unknown); perplexity; tokens predicted; bytes."""

    nats_per_token: float
    bits_per_byte: float | None
    perplexity: float
    tokens: int
    n_bytes: int | None


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
    threads = (threads or available_cores()) if model.xp is np else 1

    def nats(start):
        batch = {"input_ids": inputs[start : start + rows], "labels": labels[start : start + rows]}
        with silence_float_warnings(model.xp):  # infinite is an answer; the caller looks
            return float(to_host(model.loss(batch, denominator=1, balance=False)[0]))

    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        total = math.fsum(pool.map(nats, range(0, len(inputs), rows)))
    tokens = model.count_targets({"input_ids": inputs, "labels": labels})
    mean = total / tokens
    return Evaluation(mean, total / math.log(2) / n_bytes if n_bytes else None, safe_exp(mean), tokens, n_bytes)


def safe_exp(x):
    return math.exp(x) if x < 700 else math.inf  # math.exp raises above 709
