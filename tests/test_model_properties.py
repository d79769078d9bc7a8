"""What is true of every GPT: causality, symmetry, sums over shards, the initial loss, the derivative of the whole."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt import distributed
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, IGNORED, PRESETS, GPTConfig, count_parameters, parameter_spec
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

# Two orders of the same float64 sums of at most a few hundred terms differ by about 1e-15 of the largest.
ROUNDING = 1e-12
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def models(draw, **fixed):
    """A small float64 GPT with nothing trivial in it: biases and layer norm weights are random too."""
    n_head, head_width = draw(st.integers(1, 3)), draw(st.sampled_from([3, 5]))
    options = {
        "vocab_size": draw(st.sampled_from([11, 17])),
        "n_ctx": draw(st.integers(4, 9)),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": n_head,
        "n_embd": n_head * head_width,  # 3 at least: of 2, layer norm leaves the signs
        "n_inner": draw(st.sampled_from([None, 7])),
        "norm_first": draw(st.booleans()),
        "tied_head": draw(st.booleans()),
        "activation": draw(st.sampled_from(["gelu_tanh", "gelu"])),
    } | fixed
    ops = table(draw(st.sampled_from(["fast_cpu", "reference"])))
    return with_random_weights(GPT(GPTConfig(**options), seed=None, dtype="float64", ops=ops), draw(SEEDS))


def with_random_weights(model, seed):
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        is_norm_weight = ("ln" in name) and name.endswith("weight")
        model.params[name][...] = is_norm_weight + 0.4 * rng.standard_normal(model.params[name].shape)
    return model


def draw_batch(model, seed, rows=4):
    """Random ids (rows, n_ctx); about a third of the labels are ignored, not in all rows alike."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, model.config.vocab_size, (rows, model.config.n_ctx))
    labels = np.where(rng.random(ids.shape) < np.linspace(0, 0.7, rows)[:, None], IGNORED, ids)
    labels[:, 1] = ids[:, 1]  # a target in every row
    return {"input_ids": ids, "labels": labels}


def loss_and_grad(model, batch, **options):
    """(loss, copy of the flat gradient) of one batch."""
    model.params.grad.fill(0)
    loss, cache = model.loss(batch, **options)
    model.backward(cache)
    return float(loss), model.params.grad.copy()


def assert_same(a, b):
    """Two (loss, gradient) equal up to the order of float64 sums."""
    assert abs(a[0] - b[0]) <= ROUNDING * abs(b[0])
    assert relative_error(a[1], b[1]) <= ROUNDING


# causality


@given(model=models(), seed=SEEDS, data=st.data())
def test_a_later_token_changes_no_earlier_logit(model, seed, data):
    ids = draw_batch(model, seed)["input_ids"]
    t = data.draw(st.integers(1, ids.shape[1] - 1))
    changed = ids.copy()
    changed[:, t] = (ids[:, t] + 1) % model.config.vocab_size
    before, after = model.logits({"input_ids": ids}), model.logits({"input_ids": changed})
    assert np.array_equal(before[:, :t], after[:, :t])
    assert not np.array_equal(before[:, t], after[:, t])


@given(model=models(tied_head=False), seed=SEEDS, data=st.data())
def test_the_gradient_of_a_later_embedding_is_exactly_zero(model, seed, data):
    batch = draw_batch(model, seed)
    T, last = model.config.n_ctx, model.config.vocab_size - 1
    t = data.draw(st.integers(1, T - 1))  # positions before t have targets, the others none
    batch["input_ids"][batch["input_ids"] == last] = 0
    batch["input_ids"][:, t:] = last  # a token that occurs only where it cannot matter
    batch["labels"] = np.repeat(np.where(np.arange(T) > t, IGNORED, 1)[None, :], 4, 0)
    loss_and_grad(model, batch)
    assert np.all(model.params.grad_of("wpe")[t:] == 0)
    assert np.all(model.params.grad_of("wte")[last] == 0)
    assert np.any(model.params.grad_of("wpe")[t - 1] != 0)


# symmetry


@given(model=models(), seed=SEEDS)
def test_rows_of_a_batch_do_not_see_each_other(model, seed):
    batch = draw_batch(model, seed)
    order = np.random.default_rng(seed).permutation(4)
    shuffled = {name: array[order] for name, array in batch.items()}
    assert relative_error(model.logits(shuffled), model.logits(batch)[order]) <= ROUNDING
    assert_same(loss_and_grad(model, shuffled), loss_and_grad(model, batch))


@given(model=models(), seed=SEEDS, data=st.data())
def test_padding_on_the_right_changes_nothing(model, seed, data):
    batch = draw_batch(model, seed)
    T = model.config.n_ctx
    length = data.draw(st.integers(2, T - 1))
    short = {name: array[:, :length] for name, array in batch.items()}
    real = np.arange(T)[None, :] < length
    padded = {
        "input_ids": batch["input_ids"],  # any ids will do as padding
        "labels": np.where(real, batch["labels"], IGNORED),
        "attention_mask": np.repeat(real, 4, 0).astype(int),
    }
    assert relative_error(model.logits(padded)[:, :length], model.logits(short)) <= ROUNDING
    assert_same(loss_and_grad(model, padded), loss_and_grad(model, short))


@given(model=models(tied_head=False), seed=SEEDS, data=st.data())
def test_what_a_masked_token_is_does_not_matter(model, seed, data):
    batch = draw_batch(model, seed)
    T, V = model.config.n_ctx, model.config.vocab_size
    start = data.draw(st.integers(1, T - 2))  # padding on the left: positions 0 .. start - 1
    real = np.repeat(np.arange(T)[None, :] >= start, 4, 0)
    batch["attention_mask"] = real.astype(int)
    batch["labels"] = np.where(np.arange(T) > start, batch["input_ids"], IGNORED)
    other = batch | {"input_ids": np.where(real, batch["input_ids"], (batch["input_ids"] + 1) % V)}
    assert np.array_equal(model.logits(batch)[:, start:], model.logits(other)[:, start:])
    assert_same(loss_and_grad(model, batch), loss_and_grad(model, other))


# a step is a sum over shards


@given(model=models(), seed=SEEDS, cut=st.integers(1, 2))
def test_accumulation_equals_the_full_batch_and_a_mean_of_means_does_not(model, seed, cut):
    batch = draw_batch(model, seed)
    batch["labels"][:cut, 2:] = IGNORED  # the first part has one target a row ...
    batch["labels"][cut:] = batch["input_ids"][cut:]  # ... the second all of them
    parts = [{name: array[rows] for name, array in batch.items()} for rows in (slice(cut), slice(cut, None))]
    whole = loss_and_grad(model, batch)
    loss = float(Shards(model, threads=1).loss_and_grad(parts))
    assert_same((loss, model.params.grad), whole)
    means = [loss_and_grad(model, part) for part in parts]
    mean_of_means = sum(mean[1] for mean in means) / 2
    assert relative_error(mean_of_means, whole[1]) > 1e-6  # unequal numbers of targets: another gradient


@pytest.mark.parametrize("threads", [1, 2, 3])
@given(model=models(dropout=0.3), seed=SEEDS)
def test_any_number_of_threads_gives_the_gradient_of_the_whole_batch(threads, model, seed):
    batch = draw_batch(model, seed, rows=5)
    whole = loss_and_grad(model, batch)
    loss = float(Shards(model, threads).loss_and_grad([batch]))
    assert_same((loss, model.params.grad), whole)


@given(model=models(dropout=0.3), seed=SEEDS)
def test_dropout_drops_the_same_elements_however_a_batch_is_split(model, seed):
    batch = draw_batch(model, seed, rows=5)
    results = []
    for threads, activation_bytes in ((1, 1 << 40), (3, 1 << 40), (2, 1)):  # the last: a row at a time
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, "ACTIVATION_BYTES", activation_bytes)
            loss = float(Shards(model, threads).loss_and_grad([batch], seed=7, step=11))
        results.append((loss, model.params.grad.copy()))
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])
    assert abs(results[0][0] - loss_and_grad(model, batch)[0]) > 1e-9  # and it does drop some


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_sequences_of_one_token_have_no_targets_and_no_gradient(ops):
    model = GPT(GPTConfig(vocab_size=5, n_ctx=4, n_layer=1, n_head=2, n_embd=6, dropout=0.1), ops=table(ops))
    batch = {"input_ids": np.array([[3], [1], [4]]), "attention_mask": None, "labels": None}
    assert Shards(model, 2).loss_and_grad([batch], seed=0) == 0
    assert not model.params.grad.any()


@given(model=models(), seed=SEEDS)
def test_backward_adds_to_the_gradient_and_scales_it(model, seed):
    batch = draw_batch(model, seed)
    _, once = loss_and_grad(model, batch)
    _, cache = model.loss(batch)
    model.backward(cache, scale=-0.5)  # onto the gradient that is there
    assert relative_error(model.params.grad, 0.5 * once) <= ROUNDING


@given(model=models(), seed=SEEDS)
def test_loss_and_backward_leave_the_weights_alone(model, seed):
    before = model.params.data.copy()
    model.params.data.flags.writeable = False
    for name in model.params.names:
        model.params[name].flags.writeable = False
    loss_and_grad(model, draw_batch(model, seed))
    assert np.array_equal(model.params.data, before)


# the beginning


def initial_excess(**options):
    """Loss at step 0 minus ln V."""
    config = GPTConfig(vocab_size=512, n_ctx=32, n_head=4, **options)
    ids = np.random.default_rng(0).integers(0, 512, (4, 33))
    return float(GPT(config, seed=3).loss({"input_ids": ids})[0]) - math.log(512)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("tied_head", [True, False])
@pytest.mark.parametrize(
    ("init", "n_embd", "n_layer"),
    [("he", 32, 2), ("he", 128, 6), ("he", 384, 2), ("he", 768, 1), ("gpt2", 32, 2), ("gpt2", 128, 6)],
)
def test_training_starts_at_the_uniform_loss(init, n_embd, n_layer, norm_first, tied_head):
    excess = initial_excess(init=init, n_embd=n_embd, n_layer=n_layer, norm_first=norm_first, tied_head=tied_head)
    assert abs(excess) < 0.1


def test_gpt2_initial_loss_grows_with_the_width_as_its_0_02_is_the_same_at_every_width():
    """Logits of variance s^2 = 0.02^2 C cost s^2 / 2 over ln V: 0.08 at C = 384, 0.15 at GPT-2's 768."""
    assert abs(initial_excess(init="gpt2", n_embd=384, n_layer=2, tied_head=False) - 0.02**2 * 384 / 2) < 0.03


def expected_std(name, config):
    """The standard deviation a matrix should have, by hand."""
    C, F, residual = config.n_embd, config.n_inner, 1 / math.sqrt(2 * config.n_layer)
    if name in ("wte", "wpe", "head.weight"):
        return min(1 / (3 * math.sqrt(C)), 4 / C) if config.init == "he" else 0.01 if name == "wpe" else 0.02
    if config.init == "he" and config.norm_first:
        residual *= min(1 / (3 * math.sqrt(C)), 4 / C)
    std = 0.02 if config.init == "gpt2" else math.sqrt(2 / F if "down" in name else 1 / C)
    return std * residual if name.endswith(("attn.out.weight", "mlp.down.weight")) else std


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("n_embd", [64, 160])  # on either side of the embeddings' two bounds
@pytest.mark.parametrize("init", ["he", "gpt2"])
def test_initial_weights_have_the_standard_deviations_of_their_recipe(init, n_embd, norm_first):
    shape = {"vocab_size": 301, "n_ctx": 64, "n_layer": 3, "n_head": 2, "n_embd": n_embd, "n_inner": 97}
    config = GPTConfig(**shape, tied_head=False, init=init, norm_first=norm_first)
    store = GPT(config, seed=11).params
    for name in store.names:
        array = store[name].astype("float64")
        if array.ndim == 1:
            assert np.all(array == (1 if "ln" in name and name.endswith("weight") else 0)), name
            continue
        # of n normal draws the sample's std is off by std / sqrt(2n), its mean by std / sqrt(n): five of each
        std, n = expected_std(name, config), array.size
        assert abs(array.std() / std - 1) < 5 / math.sqrt(2 * n), name
        assert abs(array.mean() / std) < 5 / math.sqrt(n), name


def test_the_seed_fixes_the_initial_weights_in_every_dtype():
    config = GPTConfig(vocab_size=13, n_ctx=5, n_layer=1, n_head=1, n_embd=4)
    single, double = GPT(config, seed=3), GPT(config, seed=3, dtype="float64")
    assert np.array_equal(single.params.data, double.params.data.astype("float32"))
    assert not np.array_equal(single.params.data, GPT(config, seed=4).params.data)


PUBLISHED = {  # as transformers counts its own checkpoints; GPT-3 by its paper's table 2.1, "175.0B"
    "gpt1": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_have_the_published_number_of_parameters(preset):
    assert sum(count_parameters(PRESETS[preset]).values()) == PUBLISHED[preset]


def test_gpt3_is_counted_without_allocating_it():
    tracemalloc.start()
    try:
        total = sum(count_parameters(PRESETS["gpt3"]).values())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(total - 175e9) < 0.005 * 175e9
    assert peak < 2_000_000


@given(model=models())
def test_the_parts_add_up_to_the_parameters_that_exist(model):
    counts = count_parameters(model.config)
    assert sum(counts.values()) == model.params.size
    assert all(count > 0 for count in counts.values())


# the derivative of the whole


@given(model=models(dropout=0.2), seed=SEEDS)
def test_every_gradient_is_the_derivative_of_the_loss_by_complex_step(model, seed):
    """Along a random direction in each tensor, Im loss(w + ihd) / h (exact to rounding) equals gradient . d. Dropout is
    on: with a fixed key it is part of the function."""
    batch = draw_batch(model, seed)
    _, cache = model.loss(batch, dropout_key=seed)
    model.backward(cache)
    analytic = GPT(model.config, seed=None, dtype="complex128", ops=table("reference"))
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        direction = rng.standard_normal(model.params[name].shape)
        analytic.params.data[:] = model.params.data
        analytic.params[name].imag = 1e-30 * direction
        slope = complex(analytic.loss(batch, dropout_key=seed)[0]).imag / 1e-30
        gradient = model.params.grad_of(name)
        # a dot product with a random direction is of the gradient's own size; below 1e-8 the gradient is rounding
        size = max(float(np.sqrt((gradient**2).sum())), 1e-8)
        assert abs(slope - float((gradient * direction).sum())) < 1e-9 * size, name


# one table is as good as another


def train(model, steps=20, lr=1e-3):
    """Losses of a training run, clipped, with dropout."""
    optimizer, shards, losses = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(steps):
        ids = np.random.default_rng(step).integers(0, model.config.vocab_size, (8, 17)) // 2
        losses.append(float(shards.loss_and_grad([{"input_ids": ids}], seed=1, step=step)))
        optimizer.step(lr, max_norm=1.0)
    return np.array(losses)


# Two tables round differently: gradients agree to about 10 eps of a tensor's largest element. AdamW divides each
# element by its own size, sqrt(v), so small elements carry that error enlarged, and 20 steps add it up: measured, a
# tensor's movement differs by at most 50 eps of itself, the loss by 2. In float64 the same factors hold with an eps
# of 2e-16: the difference is rounding, no formula.
LOSS_BOUND, MOVEMENT_BOUND = 20, 1000  # in eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_fast_cpu_trains_like_the_reference_for_20_steps(dtype, norm_first):
    config = GPTConfig(vocab_size=97, n_ctx=16, n_layer=2, n_head=3, n_embd=48, norm_first=norm_first, dropout=0.1)
    start = GPT(config, seed=5, dtype=dtype)
    models = {name: GPT(config, seed=5, dtype=dtype, ops=table(name)) for name in ("fast_cpu", "reference")}
    losses = {name: train(model) for name, model in models.items()}
    eps = np.finfo(dtype).eps
    assert losses["reference"][-1] < losses["reference"][0] - 0.1  # it did learn something
    assert np.max(np.abs(losses["fast_cpu"] / losses["reference"] - 1)) < LOSS_BOUND * eps
    for name in start.params.names:
        fast, reference, before = (m.params[name] for m in (models["fast_cpu"], models["reference"], start))
        if name.endswith("attn.qkv.bias"):
            # A bias on the keys adds the same to all of a query's scores: its true gradient is zero, what there is is
            # rounding, and AdamW's sqrt(v) makes steps of it. It changes no logit; it is not compared.
            queries_and_values = np.r_[: config.n_embd, 2 * config.n_embd : 3 * config.n_embd]
            fast, reference, before = (a[queries_and_values] for a in (fast, reference, before))
        moved = np.linalg.norm(reference - before)
        assert np.linalg.norm(fast - reference) < MOVEMENT_BOUND * eps * moved, name


def test_a_wrong_op_is_seen_by_the_comparison_of_tables():
    """The bound above is tight enough: layer norm's eps of 1e-4 for 1e-5 breaks it."""
    config = GPTConfig(vocab_size=97, n_ctx=16, n_layer=2, n_head=3, n_embd=48)
    right = table("reference")

    def other_eps(x, weight, bias, eps=1e-5):
        return right.layer_norm_forward(x, weight, bias, 10 * eps)

    losses = [train(GPT(config, seed=5, ops=ops), 5) for ops in (right, right.replace(layer_norm_forward=other_eps))]
    assert np.max(np.abs(losses[0] / losses[1] - 1)) > LOSS_BOUND * np.finfo("float32").eps


@pytest.mark.parametrize("change", [{"tied_head": False}, {"norm_first": False}, {"n_inner": 5}])
def test_configs_that_differ_in_structure_differ_in_parameters(change):
    config = GPTConfig(vocab_size=13, n_ctx=5, n_layer=1, n_head=1, n_embd=4)
    assert parameter_spec(config).keys() != parameter_spec(replace(config, **change)).keys() or "n_inner" in change
    assert sum(count_parameters(config).values()) != sum(count_parameters(replace(config, **change)).values())


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"labels": [[1, 2]]}, "the batch has no input_ids; its keys are labels"),
        ({"input_ids": [1, 2]}, r"input_ids has shape \(2,\); expected \(B, T\)"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids has rows of different lengths"),
        ({"input_ids": [[1.0, 2.0]]}, "input_ids has type float64; expected integers"),
        ({"input_ids": [[1, 2]], "labels": [[0.5, 1]]}, "labels has type float64; expected integers"),
        ({"input_ids": [[1, 2]], "labels": [[1]]}, r"labels has shape \(1, 1\); expected input_ids' shape \(1, 2\)"),
        ({"input_ids": [[1, 99]]}, "input_ids holds 99; this model's vocabulary is 0 to 12"),
        ({"input_ids": [[1, 2]], "labels": [[1, -7]]}, "labels holds -7; this model's vocabulary is 0 to 12"),
        ({"input_ids": [[1] * 8]}, "the input has 7 tokens; this model has n_ctx 5 positions"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_by_name(batch, said):
    with pytest.raises(InputError, match=said):
        GPT(GPTConfig(vocab_size=13, n_ctx=5, n_layer=1, n_head=1, n_embd=4)).loss(batch)


def test_labels_and_masks_of_none_are_as_if_absent():
    model = GPT(GPTConfig(vocab_size=13, n_ctx=5, n_layer=1, n_head=1, n_embd=4))
    ids = [[1, 2, 3, 4]]
    assert (
        model.loss({"input_ids": ids, "labels": None, "attention_mask": None})[0] == model.loss({"input_ids": ids})[0]
    )
