"""Sampling: what each setting keeps, the key-value cache, and the window that slides past the context."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.ops import table
from scratchgpt.sampling import generate, pick, window_start

SETTINGS = {
    "greedy": {"temperature": 0},
    "temperature": {"temperature": 0.7},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.6},
}


def small_model(ops="fast_cpu", dtype="float64", **changes):
    shape = {"vocab_size": 61, "n_ctx": 16, "n_layer": 2, "n_head": 2, "n_embd": 12} | changes
    return GPT(GPTConfig(**shape), seed=3, dtype=dtype, ops=table(ops))


def draws(logits, n=2000, **options):
    rng = np.random.default_rng(0)
    return [pick(np.asarray(logits, float), rng, **options) for _ in range(n)]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_the_cache_changes_no_token_also_past_the_context(setting, ops, norm_first):
    model = small_model(ops, norm_first=norm_first)
    options = {"seed": 7} | SETTINGS[setting]
    tokens = [list(generate(model, [1, 2, 3], 45, use_cache=use_cache, **options)) for use_cache in (True, False)]
    assert tokens[0] == tokens[1] and len(tokens[0]) == 45


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_with_the_cache_equal_logits_of_the_whole_text(dtype):
    from scratchgpt.models.gpt import KVCache

    model, ids = small_model(dtype=dtype), np.random.default_rng(0).integers(0, 61, (3, 11))
    cache = KVCache(model, batch_size=3)
    parts = [model.next_logits(ids[:, a:b], cache) for a, b in ((0, 4), (4, 5), (5, 11))]
    whole = model.logits({"input_ids": ids})
    # the same sums in another order: a few units in the last place, logits being of the order of 1
    tolerance = 100 * np.finfo(dtype).eps
    for part, end in zip(parts, (4, 5, 11)):
        np.testing.assert_allclose(part, whole[:, end - 1], atol=tolerance, rtol=0)


@given(length=st.integers(1, 200), n_ctx=st.integers(1, 24))
def test_the_window_holds_at_least_half_the_context_and_never_moves_back(length, n_ctx):
    start = window_start(length, n_ctx)
    assert 0 <= start <= window_start(length + 1, n_ctx)
    assert length - start <= n_ctx
    assert start == 0 or length - start > n_ctx - max(1, n_ctx // 2)


def test_sliding_is_said_once():
    said = []
    list(generate(small_model(), [1], 60, on_slide=lambda: said.append("slid")))
    assert said == ["slid"]
    list(generate(small_model(), [1], 16, on_slide=lambda: said.append("slid")))  # 15 more fit; the 16th needs no next
    assert said == ["slid"]


def test_a_sampled_token_depends_on_no_more_than_the_window():
    model = small_model()
    first, second = ([*head, *range(20, 35)] for head in ([5], [9]))
    tails = [list(generate(model, ids, 30, temperature=0)) for ids in (first, second)]
    # after the first slide neither window holds the token in which the prompts differ, given equal tokens after it
    longer = [np.asarray([*ids, *tail]) for ids, tail in zip((first, second), tails)]
    start = window_start(17, 16)
    logits = [model.logits({"input_ids": ids[None, start:17]})[0, -1].argmax() for ids in longer]
    assert [tail[1] for tail in tails] == logits


def test_greedy_is_the_most_likely_token_and_ignores_the_seed():
    model = small_model()
    assert list(generate(model, [4], 9, temperature=0, seed=1)) == list(generate(model, [4], 9, temperature=0, seed=2))
    assert set(draws([0.1, 2.0, 1.9], temperature=0)) == {1}


def test_the_seed_fixes_the_draws():
    model = small_model()
    one, again, other = (list(generate(model, [4], 20, seed=seed)) for seed in (1, 1, 2))
    assert one == again != other


def test_draws_follow_the_softmax_at_a_temperature():
    logits, temperature, n = np.array([1.0, 0.0, -1.0]), 0.5, 20_000
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    found = np.bincount(draws(logits, n, temperature=temperature), minlength=3) / n
    # five standard deviations of a binomial share
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / n))


def test_top_k_keeps_the_k_most_likely():
    assert set(draws([0, 3, 1, 2, -5], top_k=2)) == {1, 3}
    assert set(draws([0, 0.1, 0.2], top_k=50)) == {0, 1, 2}


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    assert set(draws(logits, top_p=0.4)) == {0}
    assert set(draws(logits, top_p=0.79)) == {0, 1}
    assert set(draws(logits, top_p=0.81)) == {0, 1, 2}
    assert set(draws(logits, top_p=1.0)) == {0, 1, 2, 3}


@pytest.mark.parametrize("temperature", [1e-6, 1e-310])
def test_a_temperature_near_0_is_greedy(temperature):
    logits = np.array([-3.0, 5.0, 4.0, -900.0], np.float32)
    assert pick(logits, np.random.default_rng(0), temperature) == 1


@given(seed=st.integers(0, 2**31), size=st.integers(1, 40), top_k=st.integers(1, 50), top_p=st.floats(0.01, 1))
@settings(max_examples=200)
def test_a_draw_is_always_one_of_the_kept_tokens(seed, size, top_k, top_p):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal(size) * 10
    order = np.argsort(-logits)
    token = pick(logits, rng, 1.3, top_k, top_p)
    assert token in order[:top_k]


@pytest.mark.parametrize(
    ("ids", "options", "said"),
    [
        ([], {}, "the prompt is empty"),
        ([1] * 17, {}, "the prompt has 17 tokens; this model's context is 16"),
        ([1], {"temperature": -1}, "temperature is -1"),
        ([1], {"temperature": float("nan")}, "temperature is nan"),
        ([1], {"top_k": 0}, "top_k is 0"),
        ([1], {"top_p": 0.0}, "top_p is 0.0"),
        ([1], {"max_new_tokens": -1}, "max_new_tokens is -1"),
        ([1], {"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused_before_the_first_token(ids, options, said):
    with pytest.raises(InputError, match=said):
        generate(small_model(), ids, **options)


def test_an_unknown_token_in_the_prompt_is_refused():
    with pytest.raises(InputError, match="input_ids holds 61; this model's vocabulary is 0 to 60"):
        next(generate(small_model(), [61]))
