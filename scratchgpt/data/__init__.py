"""Text in, training batches out: the embedded corpus, the split, batches, and the entropy lines of a token stream.

The order of the data is a pure function of (seed, step): nothing has to be saved to continue a run but two integers.
"""

import io
import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.tokenizers.split import decoded

EMBEDDED = {"plays": "shakespeare_plays.txt"}  # name -> file beside this one; a COPYING file there states the licence
HELD_OUT = 0.1  # the share of a text's bytes, at its end, that is never trained on


def path_of(source):
    """The file of an embedded corpus ("plays"), or the path given. Raises InputError for an empty name."""
    if not str(source):
        raise InputError(f"the data file's name is empty; give a path, or one of: {', '.join(EMBEDDED)}")
    return Path(__file__).parent / EMBEDDED[source] if source in EMBEDDED else Path(source)


def load_text(source):
    """The text of an embedded corpus ("plays") or of a UTF-8 file, line ends as they are.

    Raises InputError when the file is missing, empty, binary (it holds a NUL) or not UTF-8, with the byte's offset.
    """
    try:
        content = path_of(source).read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"data file {source} does not exist; give a UTF-8 text file, or one of: {', '.join(EMBEDDED)}"
        ) from None
    except IsADirectoryError:
        raise InputError(f"data file {source} is a directory; give a UTF-8 text file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"data file {source!r} cannot be read: {getattr(error, 'strerror', error)}") from None
    return decode_text(content, source)


def decode_text(content, source):
    """Bytes as text. Raises InputError, naming `source`, when they are empty, binary or not UTF-8."""
    return "".join(decoded(io.BytesIO(content), f"data file {source}"))


def split_text(text):
    """(training text, validation text): the last tenth of the bytes is held out, cut after the nearest line end before.

    Where no line ends before that, the cut falls between two characters. Their concatenation is the text.
    """
    content = text.encode("utf-8")
    cut = len(content) - math.ceil(len(content) * HELD_OUT)
    line_end = content.rfind(b"\n", 0, cut)
    if line_end >= 0:
        cut = line_end + 1
    while cut < len(content) and content[cut] & 0xC0 == 0x80:  # a continuation byte: inside a character
        cut -= 1
    return content[:cut].decode("utf-8"), content[cut:].decode("utf-8")


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
