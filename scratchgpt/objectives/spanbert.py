"""SpanBERT's objective (Joshi et al. 2020, section 3): spans of whole words are masked, and told from their ends."""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models.bert import span_targets
from scratchgpt.objectives.bert import RATE, Masked, mask_chosen, refuse_rows_without_words
from scratchgpt.objectives.rows import check_rate, check_rows, choose

P, LONGEST = 0.2, 10  # of the geometric distribution of a span's length, in words
LENGTHS = P * (1 - P) ** np.arange(LONGEST)
LENGTHS /= LENGTHS.sum()  # the probabilities of 1 to 10 words; their mean is 3.80
RUN_UP = 30  # words, after which a span may end at any word alike
BOUNDARY = 20  # tokens of a span that its boundary predicts


@dataclass(frozen=True)
class SpanMasked(Masked):
    """Masked spans (B, T), and the span boundary objective's n targets, each (n,).

    targets, left and right are places in labels.reshape(-1): of a masked token, of the token before its span and of the
    one after it; places: which of its span's tokens it is, from 0.
    """

    targets: np.ndarray
    left: np.ndarray
    right: np.ndarray
    places: np.ndarray


def mask_spans(ids, word_starts, vocabulary, rng, rate=RATE, n_boundary=BOUNDARY):
    """SpanBERT's masking (Joshi et al. 2020, sections 3.1 and 3.2).

    Spans are whole words; their lengths in words are geometric (p = 0.2), at most 10, and add up to `rate` of a row's
    words on average, with one span at least. Where they lie is uniform among the places where no two touch, so that
    both neighbours of a span can be seen. 80/10/10 as BERT's, but for a span as a whole.

    ids: (B, T) ints, each row beginning and ending in a special token; word_starts: (B, T) bool; rng: a
    NumPy Generator; n_boundary: a longer span's further tokens are no targets of its boundary. Returns SpanMasked.
    Raises InputError for what mask_tokens refuses, and for a row that has no special token around its words.
    """
    ids = check_rows(ids, vocabulary.size)
    check_rate(rate)
    special = vocabulary.is_special(ids)
    refuse_rows_without_words(special)
    if np.shape(word_starts) != ids.shape:
        raise InputError(f"word_starts has shape {np.shape(word_starts)}, ids {ids.shape}; expected the same")
    if not (special[:, 0] & special[:, -1]).all():
        raise InputError("a row does not begin and end in a special token; a span at its end would have no boundary")
    begins = ~special & (np.asarray(word_starts, bool) | np.roll(special, 1, 1))  # (B, T)
    words = begins.cumsum(1) - 1  # (B, T): the number of each token's word in its row
    spans = draw_spans(begins.sum(1), rate, rng)  # (B, words): each word's span, or -1
    rows = np.arange(len(ids))[:, None]
    spans = np.where(special, -1, spans[rows, np.maximum(words, 0)])  # (B, T)
    action = rng.random(spans.max() + 1)[spans]  # one for each span
    which, mask, ordinary = rng.random(ids.shape), vocabulary.need("mask"), vocabulary.ordinary_ids()
    masked, labels = mask_chosen(ids, spans >= 0, action, which, mask, ordinary)
    return SpanMasked(masked, labels, *span_targets(labels, n_boundary))


def draw_spans(n_words, rate, rng):
    """Each word's span, for rows of n_words (B,): (B, most words) ints, numbered over all rows, -1 outside of spans."""
    row, length = draw_lengths(n_words, rate, rng)  # (S,), (S,)
    n_spans, taken = np.bincount(row, minlength=len(n_words)), np.bincount(row, length, len(n_words)).astype(int)
    # The words that stay leave places for spans: before each of them and at the end. One span a place: none touch.
    places = n_words - taken + 1
    keys = rng.random((len(n_words), places.max()))
    keys[np.arange(places.max()) >= places[:, None]] = np.inf
    _, place = np.nonzero(choose(keys, n_spans))  # (S,), in order within each row
    before = length.cumsum() - length  # words in the spans before
    before -= before[np.searchsorted(row, row)]  # in the same row
    spans = np.full((len(n_words), n_words.max()), -1)
    number = np.repeat(np.arange(len(row)), length)  # (words in spans,)
    inside = np.arange(len(number)) - (length.cumsum() - length)[number]
    spans[row[number], (place + before)[number] + inside] = number
    return spans


def draw_lengths(n_words, rate, rng):
    """(row, length) of each span, both (S,), row by row: rate * n_words words a row on average, see mask_spans.

    A window of rate * n_words words is laid over an endless line of spans, and each span stays with the probability of
    its share in the window: those inside always, the two at the edges by chance. So words and lengths are both right
    on average, while spans drawn from the window's beginning would be too short.
    """
    window = RUN_UP, RUN_UP + rate * n_words[:, None]  # (B, 1)
    length = 1 + rng.choice(LONGEST, (len(n_words), int(np.ceil(window[1].max()))), p=LENGTHS)  # (B, spans)
    end = length.cumsum(1)
    inside = np.minimum(end, window[1]) - np.maximum(end - length, window[0])  # words of it in the window
    kept = rng.random(length.shape) * length < inside
    kept[:, 0] |= ~kept.any(1)
    length = np.minimum(length, np.maximum(1, n_words // 2)[:, None])
    kept &= ((length + 1) * kept).cumsum(1) - 1 <= n_words[:, None]  # with a word between each two
    row, column = np.nonzero(kept)
    return row, length[row, column]
