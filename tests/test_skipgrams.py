"""Skip-grams: which pairs are drawn and how often, purely by (seed, step); negatives, lines, evaluation, refusals."""

import math
from collections import Counter

import numpy as np
import pytest
import strict_device
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt.data.skipgrams import PART, Draws, SkipGrams, pairs_around
from scratchgpt.errors import InputError
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig
from scratchgpt.ops import table
from scratchgpt.train import TrainConfig

V = 40
SHAPE = Word2VecConfig(V, 6)
ZIPF = 1 / np.arange(1, V + 1)
TEXT = np.random.default_rng(123).choice(V, 3000, p=ZIPF / ZIPF.sum())
SIGMAS = 4.5  # a share of n independent draws is further off once in 150,000 times


def make_data(train=TEXT, val=TEXT[:500], batch_size=64, accumulate=1, seed=0, counts=None, **options):
    draws = Draws(np.bincount(train, minlength=V) if counts is None else counts, **options)
    return SkipGrams(train, val, SHAPE, TrainConfig(batch_size=batch_size, accumulate=accumulate, seed=seed), draws)


def pairs_of(batches):
    """{(centre, context): how often}."""
    return Counter(pair for batch in batches
                   for pair in zip(batch["input_ids"].tolist(), batch["context_ids"][:, 0].tolist()))  # fmt: skip


def epochs(data, n):
    """The micro-batches of n epochs, where steps divide them."""
    return [batch for step in range(n * data.n_train // data.tokens_per_step) for batch in data.at(step)]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x[name], y[name]) for x, y in zip(a, b) for name in x)


# which pairs


def neighbours(text, reach):
    return Counter((int(text[i]), int(text[j])) for i in range(len(text)) for j in range(len(text))
                   if i != j and abs(i - j) <= reach)  # fmt: skip


@pytest.mark.parametrize("batch_size", [7, 30, 64, 420])  # parts of an epoch, of two, and two whole ones
def test_an_epoch_has_every_pair_of_neighbours_once(batch_size):
    text = TEXT[:210]
    data = make_data(text, batch_size=batch_size, window=1, subsample=0)
    assert pairs_of(epochs(data, 32)) == {pair: 32 * n for pair, n in neighbours(text, 1).items()}


@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 99))
def test_pairs_around_are_the_words_within_reach(window, n, seed):
    rng = np.random.default_rng(seed)
    ids, reach = rng.integers(0, 9, n), rng.integers(1, window + 1, n)
    places = rng.permutation(n)[: rng.integers(1, n + 1)]
    expected = [(ids[i], ids[j]) for i in places for j in range(n) if i != j and abs(i - j) <= reach[i]]
    assert list(zip(*pairs_around(ids, places, reach, window))) == expected


def test_nearer_words_are_contexts_more_often():
    data = make_data(np.arange(V).repeat(1), batch_size=4000, window=4, subsample=0)  # 0, 1, 2, ...: ids are places
    distances = Counter(abs(w - c) for w, c in pairs_of(data.at(0)).elements())
    for d in range(1, 5):  # of 100 epochs of 2 (V - d) places, a share of (5 - d) / 4
        n, share = 100 * 2 * (V - d), (5 - d) / 4
        assert abs(distances[d] - n * share) <= SIGMAS * math.sqrt(2 * n * share * (1 - share))  # both sides at once
    assert set(distances) == {1, 2, 3, 4}


def test_a_frequent_word_stays_with_the_papers_probability():
    data = make_data(batch_size=len(TEXT), window=1, subsample=0.01)
    share = np.bincount(TEXT, minlength=V) / len(TEXT)
    kept = np.concatenate([data._draw_epoch(epoch)[0] for epoch in range(40)])
    for word in range(V):
        n, keep = 40 * len(TEXT) * share[word], min(1, math.sqrt(0.01 / share[word]))
        assert abs((kept == word).sum() - n * keep) <= SIGMAS * math.sqrt(n * keep * (1 - keep)) + 1e-9


def test_what_is_left_moves_together():
    text = np.column_stack([np.arange(1, 40), *[np.zeros(39, int)] * 3, np.arange(39, 0, -1)]).ravel()
    data = make_data(text, batch_size=len(text), window=1, subsample=0.011)  # 0 stays with probability 0.14
    joined = [pair for pair in pairs_of(data.at(0)) if sum(pair) == 40]  # the three 0s between these two are gone
    assert abs(len(joined) / 2 - 39 * 0.86**3) < SIGMAS * math.sqrt(39 * 0.86**3 * (1 - 0.86**3))


def test_no_pair_joins_two_epochs():
    data = make_data(np.array([3, 4]), batch_size=10, window=5, subsample=0)
    assert pairs_of(data.at(0)) == {(3, 4): 5, (4, 3): 5}


# a pure function of (seed, step)


def test_batches_depend_on_seed_and_step_alone():
    first, other = make_data(subsample=0.02), make_data(subsample=0.02)
    later = [first.at(step) for step in (0, 1, 90, 2)]
    for step in (2, 90, 1, 0):
        assert same(other.at(step), later[(0, 1, 90, 2).index(step)])
    for other in (first.at(1), make_data(subsample=0.02, seed=1).at(0)):
        for part in ("centres", "negatives"):
            a, b = (parts_of(batches)[part][:50] for batches in (first.at(0), other))
            assert len(a) == len(b) == 50 and not np.array_equal(a, b), part


def parts_of(batches):
    return {"centres": batches[0]["input_ids"], "negatives": batches[0]["context_ids"][:, 1:]}


def test_each_epoch_visits_the_text_in_another_random_order():
    data = make_data(np.arange(V), batch_size=V // 2, window=1, subsample=0)
    halves = [set(data.at(step)[0]["input_ids"].tolist()) for step in range(6)]
    assert len(halves[0]) == V // 2 and halves[0] | halves[1] == set(range(V))
    assert len(set(map(frozenset, halves))) == 6
    assert set(range(V // 2)) not in halves  # not the first half of the text, then the second


def test_micro_batches_are_parts_of_one_step():
    whole, parts = make_data(batch_size=90).at(3), make_data(batch_size=30, accumulate=3).at(3)
    assert len(parts) == 3 and make_data(batch_size=30, accumulate=3).tokens_per_step == 90
    for name in whole[0]:
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[0][name])
    sizes = [len(part["input_ids"]) for part in parts]
    assert max(sizes) - min(sizes) <= len(parts)


def test_a_step_whose_words_were_all_left_out_reads_on():
    data = make_data(np.zeros(500, int), batch_size=1, subsample=1e-4)  # a word in a hundred stays
    assert all(len(data.at(step)[0]["input_ids"]) > 0 for step in range(50))


# negatives


def test_negatives_are_drawn_by_counts_to_the_power_of_three_quarters():
    train = TEXT[TEXT != 7]  # a word of the vocabulary that the text does not have
    data = make_data(train, batch_size=20000, negatives=5)
    drawn = data.at(0)[0]["context_ids"][:, 1:].ravel()
    counts = np.bincount(train, minlength=V) ** 0.75
    p = counts / counts.sum()
    shares = np.bincount(drawn, minlength=V) / len(drawn)
    assert p[7] == shares[7] == 0
    assert np.all(np.abs(shares - p) <= SIGMAS * np.sqrt(p * (1 - p) / len(drawn)))


def test_negatives_do_not_depend_on_the_pair():
    batch = make_data(batch_size=50000).at(0)[0]
    frequent, drawn = batch["input_ids"] == 0, batch["context_ids"][:, 1] == 0
    p, n = drawn.mean(), frequent.sum()
    assert abs(drawn[frequent].mean() - p) <= SIGMAS * math.sqrt(p * (1 - p) / n)


def test_the_last_word_is_drawn_and_none_beyond():
    data = make_data(np.array([0, 1] * 50), batch_size=5000)
    assert set(data.at(0)[0]["context_ids"].ravel()) == {0, 1}


@pytest.mark.parametrize(("uniform", "word"), [(0.0, 1), (np.nextafter(1, 0), 10)])
def test_words_that_never_occur_are_not_drawn_at_the_edges_either(uniform, word):
    class Edge:
        def random(self, shape):
            return np.full(shape, uniform)

    counts = np.array([0, *[1] * 10, 0, 0])  # ten times 0.1, summed one by one, is a little less than 1
    assert Draws(counts).candidates(np.array([4]), Edge()).tolist() == [[4] + 5 * [word]]


# the lines, and the evaluation


def test_the_frequency_line_is_what_the_best_scores_without_a_centre_give():
    data = make_data(batch_size=60000, subsample=0.02, negatives=3)
    candidates = data.at(0)[0]["context_ids"]
    contexts, negatives = (np.bincount(part.ravel(), minlength=V) for part in (candidates[:, :1], candidates[:, 1:]))
    scores = np.log(contexts / negatives)  # each negative is counted: this is p / (K q)
    losses = np.logaddexp(0, -scores[candidates[:, 0]]) + np.logaddexp(0, scores[candidates[:, 1:]]).sum(1)
    error = losses.std() / math.sqrt(len(losses))
    assert abs(losses.mean() - data.lines["frequencies"]) < SIGMAS * error
    assert data.lines["coin"] == pytest.approx(4 * math.log(2))
    assert data.lines["frequencies"] < data.lines["coin"]


def learned_model(dtype="float64"):
    model = Word2Vec(SHAPE, seed=0, dtype=dtype, ops=table("reference"))
    model.params["context"][...] = np.random.default_rng(1).standard_normal((V, 6))
    return model


@pytest.mark.parametrize("threads", [1, 2])
def test_evaluation_is_the_mean_over_all_pairs_of_the_held_out_text(threads):
    data, model = make_data(window=2, subsample=0.05), learned_model()
    result = data.evaluate(model, threads)
    centres, candidates = data.held_out.centres, data.held_out.candidates
    scores = np.einsum("bc,bkc->bk", model.params["centre"][centres], model.params["context"][candidates])
    losses = np.logaddexp(0, -scores[:, 0]) + np.logaddexp(0, scores[:, 1:]).sum(1)
    assert result.pairs == len(centres) == result.figures()["val_pairs"]
    assert result.nats_per_token == pytest.approx(losses.mean(), rel=1e-12)
    assert result.first == (scores[:, 0] > scores[:, 1:].max(1)).mean()
    assert next(name for name, _ in result.rows()) == "nats per pair"


def test_a_part_of_the_held_out_text_is_the_same_part_each_time():
    data, model = make_data(val=np.tile(TEXT, 3), window=5, subsample=0), learned_model("float32")
    part, again, whole = (data.evaluate(model, whole=whole) for whole in (False, False, True))
    assert part == again and part.pairs == PART < whole.pairs
    assert part.nats_per_token == pytest.approx(whole.nats_per_token, rel=0.02)  # 16,384 pairs of spread below 1


def test_a_model_on_a_strict_device_is_measured_as_on_the_host():
    data = make_data(subsample=0.05)
    host, device = (Word2Vec(SHAPE, seed=0, ops=table("reference"), xp=xp) for xp in (np, strict_device))
    for model in (host, device):
        model.params["context"][...] = model.xp.asarray(learned_model("float32").params["context"])
    assert data.evaluate(host) == data.evaluate(device)


def test_untrained_vectors_are_a_coin_tossed():
    data = make_data()
    result = data.evaluate(Word2Vec(SHAPE))
    assert result.nats_per_token == pytest.approx(data.lines["coin"], rel=1e-6)
    assert result.first == 0  # all products are equal: none is larger
    assert "nothing is learned" in data.verdict(result._replace(nats_per_token=data.lines["coin"]))


def test_the_verdict_names_the_line_that_was_passed():
    data = make_data()
    result = data.evaluate(Word2Vec(SHAPE))
    between = (data.lines["coin"] + data.lines["frequencies"]) / 2
    assert "not below what the words' frequencies" in data.verdict(result._replace(nats_per_token=between))
    assert "keep company." in data.verdict(result._replace(nats_per_token=data.lines["frequencies"] - 0.1))


def test_flops_count_the_pairs_that_are_drawn():
    data = make_data(batch_size=30000, window=4, negatives=2, subsample=0.02)
    pairs = len(data.at(0)[0]["input_ids"]) / 30000
    assert data.flops_per_token == pytest.approx(pairs * 6 * 6 * 3, rel=0.01)  # ends of the text have fewer


def test_the_digest_tells_texts_and_settings_apart():
    others = [make_data(TEXT[1:]), make_data(val=TEXT[:499]), make_data(window=3), make_data(negatives=2),
              make_data(subsample=0.1)]  # fmt: skip
    digests = {data.digest() for data in [make_data(), *others]}
    assert len(digests) == 6 and make_data().digest() in digests


def test_counts_of_another_text_say_what_is_frequent():
    counts = np.arange(V)
    data, usual = make_data(counts=counts, subsample=0.02), make_data(subsample=0.02)
    expected = counts**0.75 / (counts**0.75).sum()
    assert np.allclose(data.draws.noise, expected) and data.draws.noise[0] == 0
    assert data.draws.keep[0] == 1 > usual.draws.keep[0]
    assert data.digest() != usual.digest()
    with pytest.raises(InputError, match="no word occurs"):
        make_data(counts=np.zeros(V))


BAD = {
    "window 0": ({"window": 0}, "window is 0"),
    "no negatives": ({"negatives": 0}, "negatives is 0"),
    "subsample below 0": ({"subsample": -1e-3}, "subsample is -0.001"),
    "subsample NaN": ({"subsample": math.nan}, "subsample is nan"),
    "a text of one word": ({"train": [1]}, "the training text has 1 words"),
    "a held-out text of none": ({"val": np.zeros(0, int)}, "has 0 words of the vocabulary"),
    "an id out of range": ({"val": [1, V]}, "id 40"),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(change, says):
    with pytest.raises(InputError) as refused:
        make_data(**change)
    assert says in str(refused.value)


def test_a_held_out_text_without_a_pair_is_refused():
    with pytest.raises(InputError, match="of which 0 are left after subsampling: no pair"):
        make_data(np.zeros(500, int), val=[0, 0], subsample=1e-6)
