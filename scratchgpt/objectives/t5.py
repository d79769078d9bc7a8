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
    lengths = divide(hidden, n_spans, B, rng)  # (B, spans)
    before = lengths.cumsum(1) - lengths
    place = np.nonzero(choose(rng.random((B, T - hidden + 1)), np.full(B, n_spans)))[1].reshape(B, n_spans)
    rows = zip(ids.tolist(), (place + before).tolist(), lengths.tolist(), strict=True)
    inputs, targets = zip(*(hide_spans(*row, sentinels.tolist(), eos) for row in rows), strict=True)
    return TextToText(np.array(inputs, np.int32), np.array(targets, np.int32))


def hide_spans(ids, starts, lengths, sentinels, eos=None):
    """(inputs, targets) of one text, lists of ints: in the inputs each span is a sentinel, the targets are each
    sentinel and what it hides, and then the next sentinel, which ends them; eos, if given, ends both.

    ids: a list; starts, lengths: of the spans, from left to right, none touching another; sentinels: their ids, in the
    order of use, at least one more than there are spans.

    >>> hide_spans([1, 2, 3, 4, 5, 6], starts=[1, 4], lengths=[2, 1], sentinels=[99, 98, 97])
    ([1, 99, 4, 98, 6], [99, 2, 3, 98, 5, 97])
    """
    inputs, targets, end = [], [], 0
    for start, length, sentinel in zip(starts, lengths, sentinels):
        inputs += [*ids[end:start], sentinel]
        end = start + length
        targets += [sentinel, *ids[start:end]]
    inputs += ids[end:]
    targets.append(sentinels[len(starts)])
    last = [] if eos is None else [eos]
    return inputs + last, targets + last


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
        if right[-1] != said[-1]:
            raise InputError(f"row {row} has targets after its last sentinel {said[-1]}")
        rows.append(fill_spans(left, right, known))
    if len(set(map(len, rows))) > 1:
        raise InputError("the rows restored have different lengths; restore them one at a time")
    return np.array(rows, np.int32)


def fill_spans(inputs, targets, sentinels):
    """The inputs of one text with what the targets say of each sentinel in its place, a list: the ids from that
    sentinel, where it is first said, to the next one. One of which they say nothing stays.

    inputs, targets: lists of ints, the targets as a model said them, in any order; sentinels: the ids of all of them.

    >>> fill_spans([5, 100, 6, 101], [100, 7, 8, 101, 9, 102], [100, 101, 102])
    [5, 7, 8, 6, 9]
    """
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)  # what follows a sentinel that is said again goes nowhere
        else:
            current.append(token)
    return [each for token in inputs for each in spans.get(token, [token])]


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
