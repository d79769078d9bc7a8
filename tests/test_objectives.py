"""What a model is trained to say: the shares that papers state, and that nothing is masked, moved or lost otherwise."""

import doctest
import math
from collections import Counter
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.objectives import (
    Marks,
    Vocabulary,
    classification,
    corrupt_spans,
    dynamic_masks,
    entailment,
    fill_spans,
    full_sentences,
    hide_spans,
    language_model,
    mask_spans,
    mask_tokens,
    multiple_choice,
    next_sentences,
    pack,
    pad_rows,
    prefix_lm,
    raw_length,
    restore_spans,
    rows,
    sentinel_ids,
    similarity,
    truncate_pair,
)
from scratchgpt.objectives.bert import elsewhere
from scratchgpt.objectives.spanbert import LENGTHS, draw_lengths, draw_spans
from scratchgpt.objectives.t5 import divide, span_counts
from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer

PAD, UNK, CLS, SEP, MASK = 0, 7, 3, 4, 9  # not in order, and not the first
V = Vocabulary(200, (PAD, UNK, CLS, SEP, MASK), cls=CLS, sep=SEP, mask=MASK, pad=PAD)
MARKS = Marks(203, start=200, delim=201, extract=202, pad=PAD)
SENTINELS = np.arange(299, 199, -1)
Z = 4.5  # a share further than this many standard deviations from what it should be: once in 150,000 draws
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
ordinary = st.sampled_from(sorted(set(range(200)) - set(V.special_ids)))
texts = st.lists(ordinary, min_size=1, max_size=30)


def assert_share(hits, n, share):
    """hits of n draws with probability `share` each, within Z standard deviations."""
    assert abs(hits - n * share) <= Z * math.sqrt(n * share * (1 - share)), (hits / n, share)


def big(rng, n_rows=2000, length=502):
    """1,000,000 ordinary tokens between [CLS] and [SEP]."""
    ids = rng.choice(V.ordinary_ids(), (n_rows, length))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


@st.composite
def batches(draw, max_rows=4, max_length=40):
    """Rows [CLS] text [SEP] text ... [SEP] [PAD] ..., with an [UNK] here and there."""
    written = []
    for _ in range(draw(st.integers(1, max_rows))):
        parts = draw(
            st.lists(st.lists(ordinary | st.just(UNK), min_size=1, max_size=max_length), min_size=1, max_size=2)
        )
        row = [CLS, *(each for part in parts for each in [*part, SEP])]
        row[1] = 100  # one ordinary token at least
        written.append(row)
    return pad_rows(written, PAD, max(map(len, written)) + draw(st.integers(0, 3)))[0]


def test_docstring_examples_hold():
    assert doctest.testmod(rows).failed == 0
    assert pad_rows([[5, 6, 7], [8]], 0)[0].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert span_counts(512) == (77, 26) and raw_length(512) == 568  # T5's own preprocessing takes 568 for 512


# -- BERT


def test_of_a_million_tokens_15_percent_are_chosen_and_80_10_10_is_done_to_them():
    rng = np.random.default_rng(0)
    ids = big(rng)
    masked = mask_tokens(ids, V, rng)
    chosen = masked.labels != IGNORED
    n = int(chosen.sum())
    assert n == 2000 * 75  # 15% of 500 in each row, exactly
    now, was = masked.input_ids[chosen], ids[chosen]
    changed = (now != MASK) & (now != was)
    same_by_chance = 1 / len(V.ordinary_ids())
    assert_share((now == MASK).sum(), n, 0.8)
    assert_share(changed.sum(), n, 0.1 * (1 - same_by_chance))
    assert_share((now == was).sum(), n, 0.1 + 0.1 * same_by_chance)
    per_column = chosen[:, 1:-1].sum(0)  # every place is as likely
    assert ((per_column - 300) ** 2 / (300 * 0.85)).sum() < 500 + Z * math.sqrt(2 * 500)
    counts = Counter(now[changed].tolist())  # and every token
    expected = changed.sum() / len(V.ordinary_ids())
    assert sum((counts[token] - expected) ** 2 / expected for token in V.ordinary_ids().tolist()) < 195 + Z * 20


@given(batches(), seeds, st.floats(0.01, 0.9))
def test_masking_keeps_special_tokens_lengths_and_what_is_not_chosen(ids, rng, rate):
    masked = mask_tokens(ids, V, rng, rate)
    special = V.is_special(ids)
    chosen = masked.labels != IGNORED
    assert masked.input_ids.shape == masked.labels.shape == ids.shape
    assert not (chosen & special).any()
    assert np.array_equal(masked.input_ids[~chosen], ids[~chosen])
    assert np.array_equal(masked.labels[chosen], ids[chosen])
    assert not np.isin(masked.input_ids[chosen], [PAD, UNK, CLS, SEP]).any()
    assert chosen.sum(1).tolist() == [max(1, round(rate * n)) for n in (~special).sum(1).tolist()]


def test_masking_is_a_pure_function_of_its_generator():
    ids = big(np.random.default_rng(0), 3, 50)
    before = ids.copy()
    first, second = (mask_tokens(ids, V, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.input_ids, second.input_ids) and np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.labels, mask_tokens(ids, V, np.random.default_rng(6)).labels)
    assert np.array_equal(ids, before)


def numbered_documents(sizes):
    """Documents whose tokens all differ, so that a text tells where it came from."""
    number, documents = 10, []
    for document in sizes:
        documents.append([])
        for size in document:
            documents[-1].append(list(range(number, number + size)))
            number += size
    return documents, replace(V, size=number)


def parts_of(pairs, row):
    """(A, B) of a row, after checking everything around them."""
    ids, types = pairs.input_ids[row].tolist(), pairs.token_type_ids[row].tolist()
    length = int(pairs.attention_mask[row].sum())
    first, second = (i for i, token in enumerate(ids) if token == SEP)
    assert pairs.attention_mask[row].tolist() == [1] * length + [0] * (len(ids) - length)
    assert ids[0] == CLS and second == length - 1 and set(ids[length:]) <= {PAD}
    assert types == [0] * (first + 1) + [1] * (second - first) + [0] * (len(ids) - length)
    return ids[1:first], ids[first + 1 : second]


corpora = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=2, max_size=5).filter(
    lambda sizes: max(map(len, sizes)) > 1
)


@given(corpora, seeds)
def test_pairs_of_uncut_sentences_follow_or_come_from_another_document_and_none_is_lost(sizes, rng):
    documents, vocabulary = numbered_documents(sizes)
    pairs = next_sentences(documents, vocabulary, rng, max_length=200)
    home = {token: (d, s) for d, document in enumerate(documents) for s, text in enumerate(document) for token in text}
    seen = []
    for row, label in enumerate(pairs.next_sentence_label):
        a, b = parts_of(pairs, row)
        assert list(range(a[0], a[-1] + 1)) == a and list(range(b[0], b[-1] + 1)) == b  # runs of whole sentences
        assert (label == 0) == (b[0] == a[-1] + 1 and home[b[0]][0] == home[a[0]][0])
        (d, last), (other, _) = home[a[-1]], home[b[0]]
        after, there = len(documents[d]) - last - 1, len(documents[other])  # sentences that follow A, that B may take
        assert label == 0 or (other != d and len({home[token] for token in b}) == min(after, there))
        seen += a + (b if label == 0 else [])
    rest = {token for document in documents for text in document for token in text} - set(seen)
    assert len(seen) == len(set(seen))
    assert rest <= {token for document in documents for token in document[-1]}  # nothing follows a last sentence


@given(corpora, seeds, st.integers(5, 30))
def test_pairs_keep_the_limit_and_are_cut_from_the_longer_side(sizes, rng, max_length):
    documents, vocabulary = numbered_documents(sizes)
    pairs = next_sentences(documents, vocabulary, rng, max_length)
    assert pairs.input_ids.shape[1] <= max_length
    for row in range(len(pairs.input_ids)):
        a, b = parts_of(pairs, row)
        assert a == list(range(a[0], a[0] + len(a))) and b == list(range(b[0], b[0] + len(b))) and a and b


def test_half_of_the_pairs_follow_and_neither_length_nor_a_cut_sentence_tells_which():
    rng = np.random.default_rng(1)
    documents, vocabulary = numbered_documents(rng.integers(1, 9, (120, 300)).tolist())
    pairs = next_sentences(documents, vocabulary, rng, max_length=24)
    does_not = pairs.next_sentence_label == 1
    assert len(does_not) > 8000
    assert_share(does_not.sum(), len(does_not), 0.5)
    ends = {text[-1] for document in documents for text in document}
    begins = {text[0] for document in documents for text in document}
    parts = [parts_of(pairs, row) for row in range(len(does_not))]
    seen = np.array([(len(a), len(b), len(a + b), a[0] in begins, a[-1] in ends, b[0] in begins, b[-1] in ends)
                     for a, b in parts], float)  # fmt: skip
    assert (seen[:, 2] == 21).mean() > 0.95  # all but the ends of documents fill a row
    one, other = seen[does_not], seen[~does_not]
    spread = np.sqrt(one.var(0) / len(one) + other.var(0) / len(other))
    assert (abs(one.mean(0) - other.mean(0)) < Z * spread).all()
    texts = [b[0] for (_, b), no in zip(parts, does_not, strict=True) if no]
    assert len(set(texts)) > 0.8 * len(texts)  # drawn from everywhere


def test_another_text_fills_the_room_even_from_the_end_of_its_document():
    documents, rng = [[[1]] * 9, [[2, 2, 2]] * 8], np.random.default_rng(0)
    for _ in range(100):
        assert len(elsewhere(documents, 0, (0, 4, 9), room=9, rng=rng)) == 2  # A has 4 tokens: 5 more
        assert len(elsewhere(documents, 0, (5, 6, 9), room=9, rng=rng)) == 3  # as many as the document still has


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(10, 19), max_size=30), st.integers(0, 50))
def test_a_pair_is_cut_token_by_token_from_the_end_of_the_longer_side(a, b, most):
    left, right = list(a), list(b)
    while len(left) + len(right) > most and left + right:
        (left if len(left) > len(right) else right).pop()
    if left and right:
        assert truncate_pair(a, b, most) == (left, right)
        x, y = truncate_pair(a, b, most, np.random.default_rng(0))
        assert (len(x), len(y)) == (len(left), len(right))
        assert any(a[i : i + len(x)] == x for i in range(len(a))) and any(b[i : i + len(y)] == y for i in range(len(b)))
    else:
        with pytest.raises(InputError, match="leave one empty"):
            truncate_pair(a, b, most)


def test_pretraining_cuts_both_ends_alike():
    rng = np.random.default_rng(2)
    fronts = np.array([truncate_pair(list(range(50)), [0] * 20, 40, rng)[0][0] for _ in range(2000)])
    assert_share(fronts.sum(), 2000 * 30, 0.5)


@given(texts, texts | st.none(), st.integers(5, 60))
def test_packed_texts_have_their_types_and_their_ends(a, b, max_length):
    ids, types = (each.tolist() for each in pack(a, b, V, max_length))
    if b is None:
        assert ids == [CLS, *a[: max_length - 2], SEP] and set(types) == {0}
    else:
        a, b = truncate_pair(a, b, max_length - 3)
        assert ids == [CLS, *a, SEP, *b, SEP] and types == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert len(ids) <= max_length


# -- RoBERTa


def test_a_row_has_the_same_mask_whatever_batch_it_is_in():
    ids = big(np.random.default_rng(0), 6, 40)
    whole = dynamic_masks(ids, range(6), V, seed=1, epoch=2)
    part = dynamic_masks(ids[[4, 1]], [4, 1], V, seed=1, epoch=2)
    assert np.array_equal(part.input_ids, whole.input_ids[[4, 1]])
    assert np.array_equal(part.labels, whole.labels[[4, 1]])


def test_each_epoch_seed_and_row_has_a_mask_of_its_own():
    ids = np.repeat(big(np.random.default_rng(0), 1, 60), 2, 0)
    masks = [dynamic_masks(ids, (0, row), V, seed, epoch).labels[1].tobytes()
             for row in (0, 1) for seed in (0, 1) for epoch in range(3)]  # fmt: skip
    assert len(set(masks)) == len(masks)


def test_static_masks_take_turns():
    ids = big(np.random.default_rng(0), 2, 60)
    labels = [dynamic_masks(ids, (0, 1), V, 3, epoch, masks=2).labels.tobytes() for epoch in range(5)]
    assert labels[0] == labels[2] == labels[4] != labels[1] == labels[3]
    assert len({dynamic_masks(ids, (0, 1), V, 3, epoch, masks=1).labels.tobytes() for epoch in range(4)}) == 1
    assert labels[0] == dynamic_masks(ids, (0, 1), V, 3, epoch=0).labels.tobytes()


def test_masks_of_the_epochs_are_independent_and_as_many_as_bert_makes():
    ids = big(np.random.default_rng(0), 400, 102)
    first, second = (dynamic_masks(ids, range(400), V, 0, epoch) for epoch in range(2))
    chosen, again = first.labels != IGNORED, second.labels != IGNORED
    assert (chosen.sum(1) == 15).all() and (again.sum(1) == 15).all()
    assert_share((chosen & again).sum(), 400 * 100, 0.15**2)
    assert_share((first.input_ids[chosen] == MASK).sum(), 6000, 0.8)


@given(st.lists(st.lists(st.lists(ordinary, max_size=12), max_size=6), max_size=5), st.integers(3, 30))
@example([[[100] * 12, [101]], [[102], [103]]], 6)
def test_full_sentences_lose_nothing_and_are_cut_only_where_they_must(documents, max_length):
    sentences = [text for document in documents for text in document if text]
    assume(sentences)
    packed = full_sentences(documents, V, max_length)
    kept = [row[: mask.sum()].tolist() for row, mask in zip(packed.input_ids, packed.attention_mask, strict=True)]
    assert packed.input_ids.shape[1] == max_length and all(row[0] == CLS and row[-1] == SEP for row in kept)
    assert (packed.input_ids[packed.attention_mask == 0] == PAD).all()
    assert [token for row in kept for token in row if token not in (CLS, SEP)] == list(chain(*sentences))
    assert all(len(row) > 2 for row in kept)
    assert not any(left == right == SEP for row in kept for left, right in pairwise(row))
    room = max_length - 2
    lengths = [size for text in sentences for size in [room] * (len(text) // room) + [len(text) % room] if size]
    ends = set(np.cumsum(lengths).tolist())  # where a row may end
    assert set(np.cumsum([sum(token not in (CLS, SEP) for token in row) for row in kept]).tolist()) <= ends


def test_full_sentences_fill_rows_and_part_documents():
    documents = [[[10, 11], [12]], [[13, 14], [15, 16, 17]], [[], [18]]]
    packed = full_sentences(documents, V, max_length=9)
    assert packed.input_ids.tolist() == [
        [CLS, 10, 11, 12, SEP, 13, 14, SEP, PAD],
        [CLS, 15, 16, 17, SEP, 18, SEP, PAD, PAD],
    ]
    assert full_sentences([[[10]], [[11], [12]]], V, 7).input_ids.tolist() == [[CLS, 10, SEP, 11, 12, SEP, PAD]]


# -- SpanBERT


def spans_of(labels):
    """[(row, start, end)] of the runs of targets."""
    found = []
    for row, chosen in enumerate(labels != IGNORED):
        edges = np.flatnonzero(np.diff(np.pad(chosen, 1).astype(int)))
        found += [(row, start, end) for start, end in edges.reshape(-1, 2).tolist()]
    return found


def test_lengths_are_geometric_up_to_10_with_a_mean_of_3_8():
    assert LENGTHS.sum() == pytest.approx(1) and len(LENGTHS) == 10
    assert LENGTHS[1:] / LENGTHS[:-1] == pytest.approx(np.full(9, 0.8))
    assert (LENGTHS * np.arange(1, 11)).sum() == pytest.approx(3.8, abs=0.01)


@pytest.mark.parametrize("n_words", [50, 128, 500])
def test_drawn_spans_have_these_lengths_and_15_percent_of_the_words(n_words):
    rng = np.random.default_rng(n_words)
    row, length = draw_lengths(np.full(4000, n_words), 0.15, rng)
    per_row = np.bincount(row, length, 4000)
    assert abs(per_row.mean() - 0.15 * n_words) < Z * per_row.std() / math.sqrt(4000)
    assert abs(length.mean() - 3.797) < Z * length.std() / math.sqrt(len(length))
    for words, share in enumerate(LENGTHS, 1):
        assert_share((length == words).sum(), len(length), share)


def test_spans_lie_anywhere_and_never_touch():
    spans = draw_spans(np.full(4000, 200), 0.15, np.random.default_rng(0))
    inside = spans >= 0
    assert not (inside[:, 1:] & inside[:, :-1] & (spans[:, 1:] != spans[:, :-1])).any()
    share = inside.mean(0)
    middle = share[20:-20]
    assert abs(middle - middle.mean()).max() < Z * math.sqrt(0.15 * 0.85 / 4000)
    starts = inside & ~np.pad(inside, ((0, 0), (1, 0)))[:, :-1]
    assert starts[:, 0].any() and inside[:, -1].any()  # the first word and the last may be in one


@pytest.mark.parametrize("rate", [0.5, 0.95])
def test_spans_fit_their_row_at_every_rate(rate):
    spans = draw_spans(np.full(300, 30), rate, np.random.default_rng(0))
    inside = spans >= 0
    assert not (inside[:, 1:] & inside[:, :-1] & (spans[:, 1:] != spans[:, :-1])).any()
    assert inside.mean() > 0.4 and np.bincount(spans[inside]).max() <= 10


def test_span_masking_of_a_million_tokens_is_80_10_10_by_span():
    rng = np.random.default_rng(3)
    ids = big(rng)
    masked = mask_spans(ids, rng.random(ids.shape) < 0.8, V, rng)
    chosen = masked.labels != IGNORED
    assert chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.002)  # whole words: not exact, on average
    kinds = []
    for row, start, end in spans_of(masked.labels):
        now, was = masked.input_ids[row, start:end], ids[row, start:end]
        if end - start > 4:  # by chance alone such a span does not look like another kind
            kinds.append("mask" if (now == MASK).all() else "same" if (now == was).all() else "random")
            assert kinds[-1] != "random" or ((now != MASK).all() and (now != was).sum() > 1)
    for kind, share in (("mask", 0.8), ("random", 0.1), ("same", 0.1)):
        assert_share(kinds.count(kind), len(kinds), share)


@given(batches(), seeds, st.floats(0.02, 0.95), st.data())
def test_spans_are_whole_words_between_tokens_that_stay(ids, rng, rate, data):
    word_starts = np.array(data.draw(st.lists(st.booleans(), min_size=ids.size, max_size=ids.size))).reshape(ids.shape)
    masked = mask_spans(ids, word_starts, V, rng, rate)
    special, chosen = V.is_special(ids), masked.labels != IGNORED
    assert masked.input_ids.shape == ids.shape and not (chosen & special).any() and chosen.any(1).all()
    assert np.array_equal(masked.input_ids[~chosen], ids[~chosen]) and np.array_equal(
        masked.labels[chosen], ids[chosen]
    )
    for row, start, end in spans_of(masked.labels):
        assert word_starts[row, start] or special[row, start - 1]
        assert word_starts[row, end] or special[row, end]  # what follows begins a word, or is none
        words = 1 + word_starts[row, start + 1 : end].sum()
        assert words <= 10 and not chosen[row, start - 1] and not chosen[row, end]


@given(batches(), seeds)
@example(big(np.random.default_rng(0), 2, 60), np.random.default_rng(0))
def test_each_masked_token_is_told_by_the_tokens_around_its_span(ids, rng):
    masked = mask_spans(ids, np.ones(ids.shape, bool), V, rng, n_boundary=3)
    T = ids.shape[1]
    expected = [(row * T + i, row * T + start - 1, row * T + end, i - start)
                for row, start, end in spans_of(masked.labels) for i in range(start, min(end, start + 3))]  # fmt: skip
    found = list(
        zip(*(each.tolist() for each in (masked.targets, masked.left, masked.right, masked.places)), strict=True)
    )
    assert found == expected


# -- T5


def test_the_lecture_sentence_is_two_spans_and_three_sentinels():
    """Thank you <X> me to your party <Y> week -> <X> for inviting <Y> last <Z>."""
    for seed in range(200):
        pair = corrupt_spans([range(1, 11)], np.random.default_rng(seed), SENTINELS, rate=0.3, mean_span=1.5)
        if pair.inputs.tolist() == [[1, 2, 299, 5, 6, 7, 8, 298, 10]]:
            assert pair.targets.tolist() == [[299, 3, 4, 298, 9, 297]]
            return
    raise AssertionError("the lecture's spans were never drawn")


def test_spans_at_both_ends_are_hidden_and_filled_in():
    inputs, targets = hide_spans([1, 2, 3, 4, 5], starts=[0, 3], lengths=[1, 2], sentinels=[299, 298, 297], eos=9)
    assert (inputs, targets) == ([299, 2, 3, 298, 9], [299, 1, 298, 4, 5, 297, 9])
    assert fill_spans(inputs, targets, SENTINELS) == [1, 2, 3, 4, 5, 9]


@settings(max_examples=200)
@given(seeds, st.integers(1, 4), st.integers(2, 120), st.floats(0.02, 0.9), st.floats(1, 8), st.sampled_from([None, 1]))
def test_inputs_and_targets_reconstruct_the_original_exactly(rng, n_rows, length, rate, mean_span, eos):
    ids = rng.integers(0, 200, (n_rows, length))
    sentinels = np.arange(500, 200, -1)
    pair = corrupt_spans(ids, rng, sentinels, eos, rate, mean_span)
    assert np.array_equal(restore_spans(pair.inputs, pair.targets, sentinels, eos), ids)
    hidden, spans = span_counts(length, rate, mean_span)
    end = 0 if eos is None else 1
    assert pair.inputs.shape == (n_rows, length - hidden + spans + end)
    assert pair.targets.shape == (n_rows, hidden + spans + 1 + end)
    for left, right in zip(pair.inputs, pair.targets, strict=True):
        assert left[left > 200].tolist() == sentinels[:spans].tolist()  # each once, in order, no two together
        assert right[right > 200].tolist() == sentinels[: spans + 1].tolist()
        assert not ((left[1:] > 200) & (left[:-1] > 200)).any() and not ((right[1:] > 200) & (right[:-1] > 200)).any()


def test_span_corruption_hides_15_percent_in_spans_of_3_everywhere_alike():
    rng = np.random.default_rng(4)
    ids = np.tile(np.arange(500), (2000, 1))
    pair = corrupt_spans(ids, rng, np.arange(500, 600))
    hidden, spans = span_counts(500)
    assert hidden == 75 and spans == 25
    where = np.zeros(500)
    np.add.at(where, pair.targets[pair.targets < 500], 1)
    assert abs(where[10:-10] / 2000 - 0.15).max() < Z * math.sqrt(0.15 * 0.85 / 2000)
    assert where[0] > 0 and where[-1] > 0


@given(st.integers(1, 20), st.integers(1, 20), seeds)
def test_a_total_is_divided_into_parts_of_at_least_one(parts, more, rng):
    total = parts + more - 1
    numbers = divide(total, parts, 5, rng)
    assert numbers.shape == (5, parts) and (numbers >= 1).all() and (numbers.sum(1) == total).all()


def test_every_division_is_as_likely():
    counts = Counter(map(tuple, divide(5, 3, 60_000, np.random.default_rng(0)).tolist()))
    assert len(counts) == 6  # 5 = 1+1+3 and so on
    for count in counts.values():
        assert_share(count, 60_000, 1 / 6)


@given(st.integers(3, 600))
def test_raw_length_is_the_longest_whose_inputs_fit(n_inputs):
    def inputs(length):
        hidden, spans = span_counts(length)
        return length - hidden + spans + 1

    length = raw_length(n_inputs)
    assert inputs(length) <= n_inputs < inputs(length + 1)


@given(seeds, st.integers(2, 30), st.sampled_from([None, 1]))
def test_a_prefix_and_its_rest_are_the_row(rng, length, eos):
    ids = rng.integers(2, 200, (3, length))
    pair = prefix_lm(ids, rng, eos)
    end = 0 if eos is None else 1
    left, right = (part[:, : part.shape[1] - end] for part in (pair.inputs, pair.targets))
    assert np.array_equal(np.concatenate((left, right), 1), ids) and left.shape[1] >= 1 and right.shape[1] >= 1
    assert eos is None or ((pair.inputs[:, -1] == eos).all() and (pair.targets[:, -1] == eos).all())


def test_every_cut_of_a_prefix_is_as_likely():
    rng = np.random.default_rng(0)
    cuts = Counter(prefix_lm(np.ones((1, 6), int), rng).inputs.shape[1] for _ in range(5000))
    assert sorted(cuts) == [1, 2, 3, 4, 5]
    for count in cuts.values():
        assert_share(count, 5000, 0.2)


def test_plain_language_modelling_says_the_tokens_themselves():
    ids = np.arange(12).reshape(2, 6)
    plain = language_model(ids)
    assert np.array_equal(plain.input_ids, ids) and np.array_equal(plain.labels, ids)
    assert not np.shares_memory(plain.input_ids, plain.labels)


def test_sentinels_are_found_by_t5s_names_in_order():
    tokenizer = BPETokenizer.train("low lower", 260, ["<extra_id_1>", "</s>", "<extra_id_0>"])
    assert sentinel_ids(tokenizer).tolist() == [tokenizer.special_tokens[f"<extra_id_{n}>"] for n in (0, 1)]
    with pytest.raises(InputError, match="no sentinels"):
        sentinel_ids(BPETokenizer([]))


# -- GPT-1


def rows_of(sequences, number):
    """The sequences of an example without padding, after checking masks, labels and where Extract stands."""
    found, s = [], sequences
    arrays = (s.input_ids[number], s.attention_mask[number], s.labels[number], s.extract[number])
    for ids, mask, labels, extract in zip(*arrays, strict=True):
        n = int(mask.sum())
        assert mask.tolist() == [1] * n + [0] * (len(ids) - n) and set(ids[n:].tolist()) <= {PAD}
        assert labels.tolist() == ids[:n].tolist() + [IGNORED] * (len(ids) - n)
        assert extract == n - 1 and ids[extract] == MARKS.extract
        found.append(ids[:n].tolist())
    return found


def test_each_task_is_laid_out_as_figure_1():
    a, b, c = [11, 12], [13], [14, 15, 16]
    S, D, E = 200, 201, 202
    sequences = classification([a, c], MARKS)
    assert sequences.input_ids.shape == (2, 1, 5)
    assert rows_of(sequences, 0) == [[S, *a, E]] and rows_of(sequences, 1) == [[S, *c, E]]
    assert rows_of(entailment([a], [b], MARKS), 0) == [[S, *a, D, *b, E]]
    assert rows_of(similarity([a], [b], MARKS), 0) == [[S, *a, D, *b, E], [S, *b, D, *a, E]]
    sequences = multiple_choice([a, b], [[b, c], [c, a]], MARKS)
    assert sequences.input_ids.shape == (2, 2, 8) and sequences.extract.shape == (2, 2)
    assert rows_of(sequences, 1) == [[S, *b, D, *c, E], [S, *b, D, *a, E]]


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4), st.integers(5, 40))
def test_long_texts_are_cut_and_their_marks_stay(pairs, max_length):
    firsts, seconds = zip(*pairs, strict=True)
    sequences = similarity(firsts, seconds, MARKS, max_length)
    assert sequences.input_ids.shape[2] <= max_length
    for number, (a, b) in enumerate(pairs):
        for row, (x, y) in zip(rows_of(sequences, number), ((a, b), (b, a)), strict=True):
            x, y = truncate_pair(x, y, max_length - 3)
            assert row == [MARKS.start, *x, MARKS.delim, *y, MARKS.extract]
    single = classification(firsts, MARKS, max_length)
    assert all(rows_of(single, n) == [[200, *a[: max_length - 2], 202]] for n, a in enumerate(firsts))


# -- what they are given


def test_a_vocabulary_is_read_off_either_kind_of_tokenizer():
    wordpiece = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    assert Vocabulary.of(wordpiece) == Vocabulary(6, (0, 1, 2, 3, 4), cls=2, sep=3, mask=4, pad=0)
    bpe = BPETokenizer.train("low lower", 262, ["<s>", "<pad>", "</s>", "<mask>"])
    assert Vocabulary.of(bpe) == Vocabulary(262, (258, 259, 260, 261), cls=258, pad=259, sep=260, mask=261)
    assert Vocabulary.of(BPETokenizer([])).mask is None


BARE = Vocabulary(200, ())
ROW = [[CLS, 100, 101, SEP]]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("call, message", [
    (lambda: mask_tokens(ROW, BARE, RNG), r"no mask token; use a tokenizer with \[MASK\]"),
    (lambda: mask_tokens([[CLS, SEP]], V, RNG), "row 0 holds special tokens alone"),
    (lambda: mask_tokens([[100, 200]], V, RNG), "hold 200, .*0 to 199"),
    (lambda: mask_tokens([[100, -1]], V, RNG), "hold -1"),
    (lambda: mask_tokens([[100, 101], [102]], V, RNG), "different lengths"),
    (lambda: mask_tokens([100, 101], V, RNG), r"shape \(2,\); expected \(rows, tokens\)"),
    (lambda: mask_tokens([[]], V, RNG), "at least one of each"),
    (lambda: mask_tokens([[0.5]], V, RNG), "float64; expected whole numbers"),
    (lambda: mask_tokens(ROW, V, RNG, rate=1.0), "rate is 1.0"),
    (lambda: Vocabulary(200, (3, 200)), "special_ids hold 200"),
    (lambda: Vocabulary(200, (3,), cls=4), "cls is 4, which is not one of"),
    (lambda: Vocabulary(2, (0, 1)), "all 2 ids are special"),
    (lambda: next_sentences([[[100], [101]]], V, RNG), "1 documents of 2 sentences"),
    (lambda: next_sentences([[[100]], [[101]]], V, RNG), "2 documents of 1 sentences"),
    (lambda: next_sentences([[[100], [101]], [[102, 300]]], V, RNG), "hold 300"),
    (lambda: next_sentences([[[100], [101]], [[102]]], BARE, RNG), "no cls token"),
    (lambda: next_sentences([[[100], [101]], [[102]]], V, RNG, max_length=4), "leave one empty"),
    (lambda: pack([], None, V), "an empty text"),
    (lambda: pack([100], None, V, max_length=2), "a limit of 2"),
    (lambda: pad_rows([[1, 2, 3]], 0, 2), "3 tokens, more than 2"),
    (lambda: dynamic_masks(ROW, [0, 1], V, 0, 0), "row numbers for 1 rows"),
    (lambda: dynamic_masks(ROW, [0], V, 0, 0, masks=0), "masks is 0"),
    (lambda: full_sentences([[]], V), "no sentences"),
    (lambda: full_sentences([[[100]]], V, max_length=2), "max_length is 2"),
    (lambda: full_sentences([[[200]]], V), "hold 200"),
    (lambda: mask_spans([[100, 101, SEP]], np.ones((1, 3)), V, RNG), "would have no boundary"),
    (lambda: mask_spans(ROW, [True], V, RNG), "word_starts has shape"),
    (lambda: mask_spans(ROW, np.ones((1, 4)), V, RNG, rate=0), "rate is 0"),
    (lambda: corrupt_spans([[5]], RNG, SENTINELS), "1 tokens is too short"),
    (lambda: corrupt_spans([[5, 299]], RNG, SENTINELS), "hold a sentinel"),
    (lambda: corrupt_spans([range(100)], RNG, SENTINELS[:5]), "5 hidden spans, which take 6 sentinels; there are 5"),
    (lambda: corrupt_spans([range(100)], RNG, SENTINELS, mean_span=0.5), "mean_span is 0.5"),
    (lambda: restore_spans([[5, 299]], [[5, 6]], SENTINELS), r"the sentinels \[299\] in its inputs and \[\]"),
    (lambda: restore_spans([[5, 298]], [[298, 6, 297]], SENTINELS), r"expected \[299\]"),
    (lambda: restore_spans([[5, 299]], [[299, 6, 298, 7]], SENTINELS), "after its last sentinel"),
    (lambda: restore_spans([[5, 299], [5, 299]], [[299, 6, 298], [299, 298, 1]], SENTINELS, 1), "different lengths"),
    (lambda: raw_length(2), "2 inputs cannot hold"),
    (lambda: prefix_lm([[5]], RNG), "cannot be cut"),
    (lambda: language_model([]), "at least one of each"),
    (lambda: Marks(203, None, 201, 202), "start is None; expected the id"),
    (lambda: Marks(202, 200, 201, 202), "extract hold 202"),
    (lambda: Marks(203, 200, 200, 202), "not three different ids"),
    (lambda: classification([], MARKS), "no sequences"),
    (lambda: classification([[100], []], MARKS), "example 1 has an empty text"),
    (lambda: classification([[203]], MARKS), "example 0 hold 203"),
    (lambda: classification([[100]], MARKS, max_length=2), "take 3 tokens"),
    (lambda: entailment([[100]], [[101]], MARKS, max_length=4), "take 5 tokens"),
    (lambda: entailment([[100]], [], MARKS), "1 first and 0 second"),
    (lambda: multiple_choice([[100], [101]], [[[1], [2]], [[3]]], MARKS), r"\[1, 2\] sequences"),
])  # fmt: skip
def test_bad_input_is_refused_with_what_was_given(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
