"""T5's objectives (Raffel et al. 2020, sections 3.1.4 and 3.3): from one text to another, made of unlabelled text.

Thank you for inviting me to your party last week   ->   inputs   Thank you <X> me to your party <Y> week
                                                         targets  <X> for inviting <Y> last <Z>
"""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.objectives.bert import RATE
from scratchgpt.objectives.rows import check_rate, check_rows, choose

MEAN_SPAN = 3.0  # tokens


@dataclass(frozen=True)
class TextToText:
    """What the encoder reads and the decoder must say: inputs (B, S) and targets (B, T), int32."""

    inputs: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class NextTokens:
    """What a decoder reads and must say, both (B, T) int32: labels are the same tokens, which the model shifts."""

    input_ids: np.ndarray
    labels: np.ndarray


def sentinel_ids(tokenizer):
    """The ids of <extra_id_0>, <extra_id_1>, ... (T5's names of <X>, <Y>, ...), in this order.

    Raises InputError when the tokenizer has none.
    """
    specials, ids = tokenizer.special_tokens, []
    while f"<extra_id_{len(ids)}>" in specials:
        ids.append(specials[f"<extra_id_{len(ids)}>"])
    if not ids:
        raise InputError("the tokenizer has no sentinels; give it the special tokens <extra_id_0>, <extra_id_1>, ...")
    return np.array(ids, np.int32)


def span_counts(length, rate=RATE, mean_span=MEAN_SPAN):
    """(tokens to hide, spans that they make up) in a row of `length` tokens: span_counts(512) -> (77, 26).

    Raises InputError when a row is too short to hide a token and keep one.
    """
    if length < 2:
        raise InputError(f"a row of {length} tokens is too short; one must be hidden and one must stay")
    check_rate(rate)
    if mean_span < 1:
        raise InputError(f"mean_span is {mean_span}; expected at least 1 token")
    hidden = min(max(round(length * rate), 1), length - 1)
    return hidden, min(max(round(hidden / mean_span), 1), length - hidden)


def raw_length(n_inputs, rate=RATE, mean_span=MEAN_SPAN):
    """How many tokens a row may have so that its inputs, with the end of sequence, are n_inputs at most:
    raw_length(512) -> 568.

    Raises InputError when no row is so short.
    """
    length = 2
    if n_inputs < 3:
        raise InputError(
            f"{n_inputs} inputs cannot hold a token, a sentinel and the end of sequence; expected 3 or more"
        )
    while True:
        hidden, spans = span_counts(length + 1, rate, mean_span)
        if length + 1 - hidden + spans + 1 > n_inputs:
            return length
        length += 1


def corrupt_spans(ids, rng, sentinels, eos=None, rate=RATE, mean_span=MEAN_SPAN):
    """T5's span corruption (Raffel et al. 2020, sections 3.1.4 and 3.3.4).

    Of each row's T tokens round(rate * T) are hidden, in round(hidden / mean_span) spans. Every division into spans is
    equally likely, and so is every place of them where no two touch. In the inputs a span is one sentinel; the targets
    are each sentinel and what it hides, and one more sentinel at the end; eos, if given, ends both.

    ids: (B, T) ints; rng: a NumPy Generator; sentinels: their ids, in the order of use. Returns TextToText, which
    restore_spans undoes. Raises InputError for ids that hold a sentinel, too few sentinels, or too short rows.
    """
    sentinels = np.asarray(sentinels, np.int32)
    ids = check_rows(ids, np.iinfo(np.int32).max)
    if np.isin(ids, sentinels).any():
        raise InputError("the ids hold a sentinel, so that the targets would be ambiguous; encode plain text")
    B, T = ids.shape
    hidden, n_spans = span_counts(T, rate, mean_span)
    if n_spans >= len(sentinels):
        raise InputError(f"{T} tokens have {n_spans} hidden spans, which take {n_spans + 1} sentinels; there are "
                         f"{len(sentinels)}: give shorter rows, or more sentinels")  # fmt: skip
    length = divide(hidden, n_spans, B, rng)  # (B, spans)
    before = length.cumsum(1) - length
    place = np.nonzero(choose(rng.random((B, T - hidden + 1)), np.full(B, n_spans)))[1].reshape(B, n_spans)
    rows, starts = np.arange(B)[:, None], place + before  # (B, spans)
    begins = np.zeros((B, T + 1), int)
    begins[rows, starts] += 1
    begins[rows, starts + length] -= 1
    inside = begins.cumsum(1)[:, :T] == 1  # (B, T): hidden
    first = begins[:, :T] == 1
    inputs = ids.copy()
    inputs[first] = np.tile(sentinels[:n_spans], B)
    inputs = inputs[first | ~inside].reshape(B, -1)
    targets = np.tile(sentinels[n_spans], (B, hidden + n_spans + 1))
    is_sentinel = np.zeros(targets.shape, bool)
    is_sentinel[rows, before + np.arange(n_spans)] = True
    targets[is_sentinel] = np.tile(sentinels[:n_spans], B)
    is_sentinel[:, -1] = True
    targets[~is_sentinel] = ids[inside]
    return TextToText(ended(inputs, eos), ended(targets, eos))


def divide(total, parts, n_rows, rng):
    """total as a sum of `parts` numbers of at least 1, every such sum equally likely: (n_rows, parts) ints."""
    cuts = np.full((n_rows, parts + 1), total)
    cuts[:, 0] = 0
    if parts > 1:
        chosen = choose(rng.random((n_rows, total - 1)), np.full(n_rows, parts - 1))
        cuts[:, 1:-1] = np.nonzero(chosen)[1].reshape(n_rows, parts - 1) + 1
    return np.diff(cuts, axis=1)


def ended(ids, eos):
    """Rows of ids, each followed by eos if there is one."""
    return ids if eos is None else np.append(ids, np.full((len(ids), 1), eos, np.int32), axis=1)


def restore_spans(inputs, targets, sentinels, eos=None):
    """What corrupt_spans was given: inputs (B, S) with what the targets (B, T) say in place of each sentinel.

    Raises InputError when the two do not have the same sentinels in the same order, the targets with one more at the
    end; or the results differ in length.
    """
    sentinels, rows = np.asarray(sentinels).tolist(), []
    known = set(sentinels)
    for row, (left, right) in enumerate(zip(np.asarray(inputs).tolist(), np.asarray(targets).tolist(), strict=True)):
        if eos is not None:
            left, right = left[: -1 if left[-1:] == [eos] else None], right[: -1 if right[-1:] == [eos] else None]
        used = [token for token in left if token in known]
        said = [token for token in right if token in known]
        if used != sentinels[: len(used)] or said != sentinels[: len(used) + 1] or right[:1] != said[:1]:
            raise InputError(f"row {row} has the sentinels {used} in its inputs and {said} in its targets; expected "
                             f"{sentinels[: len(used)]} and then one more in the targets")  # fmt: skip
        bounds = [right.index(token) for token in said]
        spans = {token: right[start + 1 : end] for token, start, end in zip(said, bounds, bounds[1:])}
        if right[bounds[-1] + 1 :]:
            raise InputError(f"row {row} has targets after its last sentinel {said[-1]}")
        rows.append([each for token in left for each in spans.get(token, [token])])
    if len(set(map(len, rows))) > 1:
        raise InputError("the rows restored have different lengths; restore them one at a time")
    return np.array(rows, np.int32)


def prefix_lm(ids, rng, eos=None):
    """T5's prefix language model (Raffel et al. 2020, sections 3.2.3 and 3.3.1): rows cut in two at a random place, the
    same for all of them; the encoder reads the first part, the decoder says the second. A decoder alone reads both,
    and lets the first part see itself whole.

    ids: (B, T) ints; rng: a NumPy Generator; eos, if given, ends both parts. Returns TextToText. Raises InputError for
    rows of one token.
    """
    ids = check_rows(ids, np.iinfo(np.int32).max)
    if ids.shape[1] < 2:
        raise InputError("rows of 1 token cannot be cut in two; give longer rows")
    cut = int(rng.integers(1, ids.shape[1]))
    return TextToText(ended(ids[:, :cut], eos), ended(ids[:, cut:], eos))


def language_model(ids):
    """Plain language modelling (Raffel et al. 2020, section 3.2.3): every token is said from those before it.

    ids: (B, T) ints. Returns NextTokens.
    """
    ids = check_rows(ids, np.iinfo(np.int32).max)
    return NextTokens(ids, ids.copy())
