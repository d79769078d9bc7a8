"""The corpus, the split, the batches, the evaluation windows and the entropy lines."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchgpt.data import (
    Batches,
    entropy_lines,
    load_text,
    split_text,
    what_loss_means,
)
from scratchgpt.errors import InputError
from scratchgpt.evaluation import as_ids, sliding_windows
from scratchgpt.models import IGNORED


def test_embedded_plays_are_there_and_their_last_tenth_is_held_out():
    text = load_text("plays")
    train, validation = split_text(text)
    assert train + validation == text
    assert train.endswith("\n") and text.startswith("A MIDSUMMER NIGHT'S DREAM")
    assert 0 <= len(validation.encode()) - len(text.encode()) / 10 < 200  # at most one line more than a tenth


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc\x00def", "binary: byte 3 is NUL"),
        (b"caf\xc3\xa9 caf\xe9 x", "not UTF-8: byte 9 is 0xe9"),
        ("text".encode("utf-16"), "binary|not UTF-8"),
    ],
)
def test_unusable_data_is_refused_with_the_place(tmp_path, content, message):
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_text(path)


def test_missing_data_names_the_embedded_corpora(tmp_path):
    with pytest.raises(InputError, match=r"does not exist.*plays"):
        load_text(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match="directory"):
        load_text(tmp_path)
    with pytest.raises(InputError, match="empty"):
        load_text("")
    with pytest.raises(InputError, match="null byte"):
        load_text("a\0b")


def test_line_ends_are_kept(tmp_path):
    path = tmp_path / "dos.txt"
    path.write_bytes(b"one\r\ntwo\r\n")
    assert load_text(path) == "one\r\ntwo\r\n"


@given(st.text(min_size=1, max_size=200))
def test_split_loses_nothing_and_cuts_between_characters(text):
    train, validation = split_text(text)
    assert train + validation == text
    assert "\n" not in train or train.endswith("\n") or len(validation.encode()) >= len(text.encode()) / 10


def test_ids_out_of_range_are_refused_with_their_place():
    with pytest.raises(InputError, match=r"id 7 at position 2 .*0 to 6"):
        as_ids([0, 6, 7], 7)
    with pytest.raises(InputError, match="id -1 at position 1"):
        as_ids(np.array([0, -1]), 7)
    with pytest.raises(InputError, match="whole numbers"):
        as_ids([0.5], 7)


@given(st.integers(1, 9), st.integers(0, 60), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=200)
def test_every_row_is_a_run_of_the_corpus_and_an_epoch_repeats_no_target(n_ctx, extra, rows, seed):
    ids = np.arange(n_ctx + 1 + extra)
    batches = Batches(ids, n_ctx, rows, seed)
    steps = -(-batches.rows_per_epoch // rows)
    seen = np.concatenate([batches.at(step) for step in range(steps)])
    assert seen.shape == (steps * rows, n_ctx + 1)
    assert (np.diff(seen) == 1).all()  # the ids are 0, 1, 2, ...: a row is a run
    epoch = seen[: batches.rows_per_epoch, 1:]
    assert np.unique(epoch).size == epoch.size
    assert epoch.size >= len(ids) - 2 * n_ctx  # all but the two ends


def test_a_batch_depends_on_seed_and_step_alone():
    ids = np.arange(1000)
    forward = [Batches(ids, 16, 4, seed=5).at(step) for step in range(40)]
    once = Batches(ids, 16, 4, seed=5)
    backward = [once.at(step) for step in reversed(range(40))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert not np.array_equal(forward[0], Batches(ids, 16, 4, seed=6).at(0))
    assert len({int(rows[0, 0]) % 16 for rows in forward}) > 1  # epochs start at different offsets


def test_accumulated_batches_are_the_rows_of_the_full_batch():
    ids = np.arange(500)
    np.testing.assert_array_equal(
        Batches(ids, 8, 6, 1).at(3), np.concatenate([Batches(ids, 8, 3, 1).at(6), Batches(ids, 8, 3, 1).at(7)])
    )


def test_a_corpus_shorter_than_one_context_is_refused():
    with pytest.raises(InputError, match=r"16 tokens.*context of 16"):
        Batches(np.arange(16), 16, 1, 0)
    assert Batches(np.arange(17), 16, 1, 0).at(0).shape == (1, 17)


@given(st.integers(2, 120), st.integers(1, 20))
@settings(max_examples=300)
def test_windows_predict_every_token_but_the_first_once_with_half_a_context(n, n_ctx):
    ids = np.arange(n)
    inputs, labels = sliding_windows(ids, n_ctx)
    assert inputs.shape[1] <= n_ctx + 1
    counted = labels[:, 1:][labels[:, 1:] != IGNORED]  # label 0 of a row has nothing before it and is never read
    assert sorted(counted) == list(range(1, n))
    for row, (tokens, targets) in enumerate(zip(inputs, labels)):
        places = np.flatnonzero(targets[1:] != IGNORED) + 1
        np.testing.assert_array_equal(tokens[places], targets[places])
        assert row == 0 or places.min() >= n_ctx / 2


def test_a_single_token_cannot_be_evaluated():
    with pytest.raises(InputError, match="at least 2"):
        sliding_windows(np.arange(1), 8)


def counted_entropy(ids, order):
    """The conditional entropy straight from its definition, one Counter per context."""
    after = {}
    for place in range(order, len(ids)):
        after.setdefault(tuple(ids[place - order : place]), Counter())[ids[place]] += 1
    total = len(ids) - order
    return -sum(n / total * math.log(n / counts.total()) for counts in after.values() for n in counts.values())


@given(st.lists(st.integers(0, 4), min_size=3, max_size=80))
def test_entropy_lines_equal_the_definition(ids):
    lines = entropy_lines(ids, 5)
    assert lines["uniform"] == math.log(5)
    for order, name in enumerate(("unigram", "bigram", "trigram")):
        # sums of at most 80 terms of order 1 in float64: 1e-12 is a hundred times their rounding
        assert lines[name] == pytest.approx(counted_entropy(ids, order), abs=1e-12)


def test_entropy_lines_take_a_large_vocabulary():
    rng = np.random.default_rng(0)
    lines = entropy_lines(rng.integers(0, 3_000_000, 5000), 3_000_000)  # V**3 would overflow 64 bits
    assert lines["uniform"] > lines["unigram"] > lines["bigram"] >= lines["trigram"] >= 0


def test_the_sentence_follows_the_position_between_the_lines():
    lines = {"uniform": 6.9, "unigram": 5.7, "bigram": 3.9, "trigram": 2.1}
    said = [what_loss_means(loss, lines) for loss in (7.0, 6.0, 5.0, 3.0, 2.0)]
    assert len(set(said)) == 5
    assert "nothing is learned" in said[0] and "no context helps" in said[1] and "uses context" in said[2]
    assert "more than one token" in said[3] and "memorised" in said[3] and "more than two tokens" in said[4]
