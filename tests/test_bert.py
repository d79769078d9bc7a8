"""What is true of every BERT, RoBERTa and SpanBERT: derivatives, symmetry, masked rows alone, sums over shards."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import strict_device
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt import distributed
from scratchgpt.backend import to_host
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.models.bert import (
    BERT,
    PRESETS,
    BERTConfig,
    RoBERTaConfig,
    SpanBERTConfig,
    count_parameters,
    parameter_spec,
    span_targets,
    training_flops_per_token,
)  # fmt: skip
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

# Two orders of the same float64 sums of at most a few hundred terms differ by about 1e-15 of the largest.
ROUNDING = 1e-12
SEEDS = st.integers(0, 2**32 - 1)
TINY = {"vocab_size": 23, "n_ctx": 9, "n_layer": 2, "n_head": 2, "n_embd": 10, "n_inner": 14}
CONFIGS = {
    "BERT": BERTConfig(**TINY),
    "masked LM alone": BERTConfig(**TINY, pooler=False, nsp=False, activation="gelu_tanh", n_segments=0),
    "next sentences alone": BERTConfig(**TINY, mlm=False, activation="relu"),
    "RoBERTa": RoBERTaConfig(**TINY),
    "SpanBERT": SpanBERTConfig(**TINY, n_span=3, span_width=7),
}


def with_random_weights(model, seed):
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        is_norm_weight = "ln" in name and name.endswith("weight")
        model.params[name][...] = is_norm_weight + 0.4 * rng.standard_normal(model.params[name].shape)
    return model


@st.composite
def models(draw, **fixed):
    """A small float64 model with nothing trivial in it: biases and layer norm weights are random too."""
    config = replace(CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))], **fixed)
    ops = table(draw(st.sampled_from(["fast_cpu", "reference"])))
    return with_random_weights(BERT(config, seed=None, dtype="float64", ops=ops), draw(SEEDS))


def draw_batch(config, seed, rows=5, padded=True):
    """Random ids (rows, n_ctx), none of them pad_id where there is no padding; about a third are targets, in runs."""
    rng = np.random.default_rng(seed)
    T = config.n_ctx
    ids = rng.integers(config.pad_id + 1, config.vocab_size, (rows, T))
    lengths = rng.integers(5, T + 1, rows)[:, None] if padded else np.full((rows, 1), T)
    real = np.arange(T) < lengths
    inside = (np.arange(T) > 0) & (np.arange(T) < lengths - 1)
    targets = inside & (np.roll(rng.random((rows, T)) < 0.35, 1, 1) | (rng.random((rows, T)) < 0.2))
    batch = {
        "input_ids": np.where(real, ids, config.pad_id),
        "attention_mask": real.astype(int),
        "token_type_ids": ((np.arange(T) > 3) & real).astype(int) * (config.n_segments > 1),
    }
    if config.mlm or config.n_span:
        batch["labels"] = np.where(targets, rng.integers(0, config.vocab_size, (rows, T)), IGNORED)
        batch["labels"][0, 2:4] = 1  # there is a target, and a span
    if config.nsp:
        batch["next_sentence_label"] = np.where(np.arange(rows) == 1, IGNORED, rng.integers(0, 2, rows))
    return batch


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


# the derivative of the whole


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "next sentences alone"])
def test_every_gradient_is_the_derivative_of_the_loss_by_complex_step(name, ops):
    """Along a random direction in each tensor, Im loss(w + ihd) / h (exact to rounding) equals gradient . d. Dropout is
    on: with a fixed key it is part of the function."""
    config = replace(CONFIGS[name], dropout=0.2)
    model = with_random_weights(BERT(config, seed=None, dtype="float64", ops=table(ops)), 1)
    batch = draw_batch(config, 2)
    loss_and_grad(model, batch, dropout_key=5)
    analytic = BERT(config, seed=None, dtype="complex128", ops=table("reference"))
    rng = np.random.default_rng(3)
    for tensor in model.params.names:
        direction = rng.standard_normal(model.params[tensor].shape)
        analytic.params.data[:] = model.params.data
        analytic.params[tensor].imag = 1e-30 * direction
        slope = complex(analytic.loss(batch, dropout_key=5)[0]).imag / 1e-30
        gradient = model.params.grad_of(tensor)
        # a dot product with a random direction is of the gradient's own size; below 1e-6 the gradient is rounding
        size = max(float(np.sqrt((gradient**2).sum())), 1e-6)
        assert abs(slope - float((gradient * direction).sum())) < 1e-9 * size, tensor


def test_every_parameter_but_those_that_nothing_reads_has_a_gradient():
    for name, config in CONFIGS.items():
        model = with_random_weights(BERT(config, seed=None, dtype="float64"), 1)
        loss_and_grad(model, draw_batch(config, 2))
        for tensor in model.params.names:
            # a bias on the keys adds the same to all scores of a query: softmax does not see it
            size = np.abs(model.params.grad_of(tensor)).max()
            assert size < 1e-12 if tensor.endswith("attn.k.bias") else size > 1e-6, (name, tensor)


# what is predicted


def test_the_head_runs_on_the_masked_rows_alone():
    right, seen = table("reference"), []

    def spy(x, weight, *rest):
        seen.append((x, weight))
        return right.cross_entropy_forward(x, weight, *rest)

    config = CONFIGS["masked LM alone"]
    batch = draw_batch(config, 0)
    BERT(config, ops=right.replace(cross_entropy_forward=spy)).loss(batch)
    ((x, weight),) = seen
    assert len(x) == (batch["labels"] != IGNORED).sum() < batch["labels"].size / 2
    assert weight.shape == (config.vocab_size, config.n_embd)


def test_a_training_step_never_holds_the_logits_of_all_positions():
    config = BERTConfig(vocab_size=30_000, n_ctx=64, n_layer=1, n_head=1, n_embd=8, nsp=False)
    model = BERT(config)
    ids = np.random.default_rng(0).integers(1, 30_000, (32, 64))
    batch = {"input_ids": ids, "labels": np.where(np.arange(64) % 16 == 5, ids, IGNORED)}
    _, cache = model.loss(batch)  # makes what is made once
    model.backward(cache)
    tracemalloc.start()
    try:
        _, cache = model.loss(batch)
        model.backward(cache)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ids.size * 30_000 * 4 / 3  # the logits of one in 16 positions, and their gradient, and the table's


@given(model=models(), seed=SEEDS)
def test_the_loss_is_the_mean_over_the_targets_of_each_objective(model, seed):
    batch = draw_batch(model.config, seed)
    loss, cache = model.loss(batch)
    parts = model.losses(cache)
    assert tuple(parts) == model.config.objectives
    assert math.isclose(float(loss), sum(map(float, parts.values())), rel_tol=ROUNDING)

    def mean_nll(logits, targets):
        logits = logits - logits.max(-1, keepdims=True)
        nll = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[:, None], 1)[:, 0]
        return nll.mean()

    if "mlm" in parts:
        at = batch["labels"] != IGNORED
        assert math.isclose(parts["mlm"], mean_nll(model.logits(batch)[at], batch["labels"][at]), rel_tol=ROUNDING)
    if "nsp" in parts:
        at = batch["next_sentence_label"] != IGNORED
        expected = mean_nll(model.next_sentence_logits(batch)[at], batch["next_sentence_label"][at])
        assert math.isclose(parts["nsp"], expected, rel_tol=ROUNDING)


def spans_by_loops(labels, n_span):
    """The same, a position at a time."""
    found, T = [], labels.shape[1]
    for b, row in enumerate(labels.tolist()):
        for t, label in enumerate(row):
            left, right = t, t
            while left >= 0 and row[left] != IGNORED:
                left -= 1
            while right < T and row[right] != IGNORED:
                right += 1
            if label != IGNORED and left >= 0 and right < T and t - left - 1 < n_span:
                found.append((b * T + t, b * T + left, b * T + right, t - left - 1))
    return found


@given(st.integers(0, 3), st.integers(1, 8), st.integers(1, 4), SEEDS, st.floats(0, 1))
def test_span_targets_are_those_that_a_loop_finds(rows, T, n_span, seed, share):
    labels = np.where(np.random.default_rng(seed).random((rows, T)) < share, 7, IGNORED)
    assert list(zip(*(each.tolist() for each in span_targets(labels, n_span)))) == spans_by_loops(labels, n_span)


@given(seed=SEEDS)
def test_the_span_head_never_sees_the_vector_of_what_it_predicts(seed):
    """Noise on the encoder's outputs at the targets changes the span loss of no span, and masked LM's."""
    config = CONFIGS["SpanBERT"]
    model = with_random_weights(BERT(config, seed=None, dtype="float64"), seed)
    labels = draw_batch(config, seed)["labels"]
    x = np.random.default_rng(seed).standard_normal((*labels.shape, config.n_embd))
    noisy = x + (labels != IGNORED)[..., None]
    assert model.span_forward(x, labels, 1.0)[0] == model.span_forward(noisy, labels, 1.0)[0]
    assert model.mlm_forward(x, labels, 1.0)[0] != model.mlm_forward(noisy, labels, 1.0)[0]


# symmetry


@given(model=models(), seed=SEEDS)
def test_rows_of_a_batch_do_not_see_each_other(model, seed):
    batch = draw_batch(model.config, seed)
    order = np.random.default_rng(seed).permutation(5)
    shuffled = {name: array[order] for name, array in batch.items()}
    assert_same(loss_and_grad(model, shuffled), loss_and_grad(model, batch))


@given(model=models(), seed=SEEDS)
def test_padding_on_the_right_changes_nothing(model, seed):
    batch = draw_batch(model.config, seed, padded=False)
    T = model.config.n_ctx
    wide = BERT(replace(model.config, n_ctx=T + 3), seed=None, dtype="float64", ops=model.ops)
    for name in model.params.names:
        wide.params[name][: len(model.params[name])] = model.params[name]
    fill = {"input_ids": model.config.pad_id, "labels": IGNORED}
    padded = {
        name: np.pad(array, ((0, 0), (0, 3)), constant_values=fill.get(name, 0)) if array.ndim == 2 else array
        for name, array in batch.items()
    }
    assert abs(float(wide.loss(padded)[0]) - float(model.loss(batch)[0])) < ROUNDING * abs(float(model.loss(batch)[0]))


@given(seed=SEEDS)
def test_an_earlier_and_a_later_token_both_change_a_vector(seed):
    """Every position sees every other: no causal mask."""
    model = with_random_weights(BERT(CONFIGS["BERT"], seed=None, dtype="float64"), seed)
    ids = draw_batch(model.config, seed, padded=False)["input_ids"]
    for t in (0, 8):
        changed = ids.copy()
        changed[:, t] = (ids[:, t] + 1) % 23
        before, after = (model.layers({"input_ids": each})[-1] for each in (ids, changed))
        assert np.all(np.any(before != after, -1))


def test_roberta_counts_positions_from_the_first_token_that_is_not_padding():
    model = BERT(CONFIGS["RoBERTa"])
    ids = np.array([[5, 6, 7, 1, 1], [1, 1, 5, 6, 7]])
    assert model.positions(ids).tolist() == [[2, 3, 4, 1, 1], [1, 1, 2, 3, 4]]
    layers = model.layers({"input_ids": ids, "attention_mask": ids != 1})
    np.testing.assert_allclose(
        layers[-1][0, :3], layers[-1][1, 2:], rtol=1e-5, atol=1e-6
    )  # float32, two orders of sums


def test_layers_are_the_vectors_before_the_first_block_and_after_each():
    model = BERT(CONFIGS["BERT"])
    batch = {"input_ids": [[1, 2, 3]]}
    layers = model.layers(batch)
    assert [layer.shape for layer in layers] == [(1, 3, 10)] * 3
    assert np.array_equal(layers[-1], model.hidden(np.array([[1, 2, 3]]))[0])
    assert not np.array_equal(layers[0], layers[1])


# a step is a sum over shards


@pytest.mark.parametrize("threads", [1, 3])
@given(model=models(dropout=0.3), seed=SEEDS)
def test_any_number_of_threads_and_micro_batches_gives_the_gradient_of_the_whole_batch(threads, model, seed):
    batch = draw_batch(model.config, seed)
    whole = loss_and_grad(model, batch)
    parts = [{name: array[a:b] for name, array in batch.items()} for a, b in ((0, 2), (2, 5))]
    loss = float(Shards(model, threads).loss_and_grad(parts))
    assert_same((loss, model.params.grad), whole)


@given(model=models(dropout=0.3), seed=SEEDS)
def test_dropout_drops_the_same_elements_however_a_batch_is_split(model, seed):
    batch = draw_batch(model.config, seed)
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
def test_a_batch_without_targets_has_no_loss_and_no_gradient(ops):
    for name in ("masked LM alone", "RoBERTa", "SpanBERT"):
        model = BERT(CONFIGS[name], ops=table(ops))
        batch = {"input_ids": np.full((2, 4), 3), "labels": np.full((2, 4), IGNORED)}
        assert loss_and_grad(model, batch)[0] == 0
        assert not model.params.grad.any()


@given(model=models(), seed=SEEDS)
def test_backward_adds_to_the_gradient_and_scales_it(model, seed):
    batch = draw_batch(model.config, seed)
    _, once = loss_and_grad(model, batch)
    _, cache = model.loss(batch)
    model.backward(cache, scale=-0.5)  # onto the gradient that is there
    assert relative_error(model.params.grad, 0.5 * once) <= ROUNDING


@given(model=models(), seed=SEEDS)
def test_a_denominator_for_each_objective_divides_its_losses(model, seed):
    batch = draw_batch(model.config, seed)
    counts = model.count_targets(batch)
    assert len(counts) == len(model.config.objectives)
    halves = model.losses(model.loss(batch, denominator=2 * counts)[1])
    wholes = model.losses(model.loss(batch)[1])
    assert all(math.isclose(2 * halves[name], wholes[name], rel_tol=ROUNDING) for name in wholes)
    sums = model.losses(model.loss(batch, denominator=1)[1])
    assert all(math.isclose(sums[name], n * wholes[name], rel_tol=ROUNDING) for name, n in zip(sums, counts))


# on a device


def train(xp, config, dtype="float32"):
    model = BERT(config, seed=0, dtype=dtype, ops=table("reference"), xp=xp)
    optimizer, shards, losses = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(3):
        losses.append(shards.loss_and_grad([draw_batch(config, step), draw_batch(config, step + 9)], seed=1, step=step))
        losses.append(optimizer.step(1e-2, max_norm=1.0))
    return model, [*losses, model.params.data, optimizer.m, optimizer.v]


@pytest.mark.parametrize("name", CONFIGS)
def test_three_training_steps_on_the_strict_device_give_the_bits_of_numpy(name):
    config = replace(CONFIGS[name], dropout=0.2)
    host, expected = train(np, config)
    device, got = train(strict_device, config)
    for a, b in zip(expected, got, strict=True):
        assert np.array_equal(np.asarray(a), b.get())
    batch = draw_batch(config, 4)
    if config.mlm:
        assert np.array_equal(host.logits(batch), device.logits(batch).get())
    if config.nsp:
        assert np.array_equal(host.next_sentence_logits(batch), device.next_sentence_logits(batch).get())


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONFIGS)
def test_three_training_steps_on_the_device_equal_numpy(cupy, name):
    config = replace(CONFIGS[name], dropout=0.2)
    for a, b in zip(train(np, config, "float64")[1], train(cupy, config, "float64")[1], strict=True):
        assert relative_error(np.asarray(a), to_host(b)) < 1e-10  # a rounding passes through a hundred ops


# size and beginning

COUNTED = {  # as transformers counts BertForPreTraining and RobertaForMaskedLM of the published checkpoints
    "bert-base": 110_106_428,
    "bert-large": 336_226_108,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
}


def test_presets_have_the_published_sizes_and_are_counted_without_allocating():
    tracemalloc.start()
    try:
        totals = {name: sum(count_parameters(config).values()) for name, config in PRESETS.items()}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert {name: totals[name] for name in COUNTED} == COUNTED
    published = {"bert-base": 110e6, "roberta-base": 125e6, "roberta-large": 355e6}
    assert all(abs(totals[name] / size - 1) < 0.01 for name, size in published.items())
    # Devlin et al. 2019 say 340M of the large one, which is 336M to two digits
    assert f"{totals['bert-large']:.1e}" == f"{340e6:.1e}"
    head = sum(
        math.prod(shape) for name, (shape, _) in parameter_spec(PRESETS["spanbert-base"]).items() if "span" in name
    )
    C, W, V = 768, 200, 28996
    assert head == 20 * W + C * (2 * C + W) + C + C * C + C + 4 * C + V


@given(model=models())
def test_the_parts_add_up_to_the_parameters_that_exist(model):
    counts = count_parameters(model.config)
    assert sum(counts.values()) == model.params.size
    assert all(count > 0 for count in counts.values())


def test_flops_count_every_product_and_the_head_on_15_percent_of_the_tokens():
    V, C, F, L, T = 23, 10, 14, 2, 9
    blocks = L * (4 * (C * C + C) + 2 * C * F + C + F)
    head = 0.15 * (V * C + C * C + 3 * C)  # the transform with its norm, by custom
    assert training_flops_per_token(CONFIGS["masked LM alone"]) == 6 * (blocks + head) + 12 * L * C * T


@pytest.mark.parametrize(
    ("n_embd", "n_layer", "init"), [(32, 2, "he"), (128, 6, "he"), (768, 1, "he"), (32, 2, "bert")]
)
def test_training_starts_at_the_uniform_loss(n_embd, n_layer, init):
    shape = {"vocab_size": 512, "n_ctx": 32, "n_head": 4, "n_embd": n_embd, "n_layer": n_layer, "init": init}
    for config in (BERTConfig(**shape), SpanBERTConfig(**shape)):
        model = BERT(config, seed=3)
        losses = model.losses(model.loss(draw_batch(config, 0, rows=16))[1])
        uniform = {"mlm": math.log(512), "nsp": math.log(2), "span": math.log(512)}
        # logits of variance 1/9 cost 1/18; of about 120 targets the mean is off by 1/3 / sqrt(120) = 0.03: three of it
        assert all(abs(losses[name] - uniform[name]) < 0.15 for name in losses)


# what is refused

MODEL = BERT(CONFIGS["BERT"])
GOOD = {"input_ids": [[1, 2]], "labels": [[-100, 3]], "next_sentence_label": [0]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_ids": None}, "the batch has no input_ids; its keys are"),
        ({"labels": None}, "the batch has no labels; its keys are input_ids, labels"),
        ({"next_sentence_label": None}, "the batch has no next_sentence_label"),
        ({"input_ids": [[1, 23]]}, "input_ids holds 23; this model's vocabulary is 0 to 22"),
        ({"token_type_ids": [[0, 2]]}, "token_type_ids holds 2; this model's segments are 0 to 1"),
        ({"labels": [[-1, 3]]}, "labels holds -1"),
        ({"labels": [[3]]}, r"labels has shape \(1, 1\)"),
        ({"next_sentence_label": [2]}, "next_sentence_label holds 2"),
        ({"next_sentence_label": [[0]]}, r"next_sentence_label has shape \(1, 1\); expected \(1,\)"),
        ({"input_ids": [[1] * 10]}, "the input has 10 tokens; this model has n_ctx 9 positions"),
        ({"input_ids": [1, 2]}, r"input_ids has shape \(2,\); expected \(B, T\)"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_by_name(change, said):
    MODEL.loss(GOOD)
    with pytest.raises(InputError, match=said):
        MODEL.loss(GOOD | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_layer": 0}, "n_layer is 0"), ({"n_embd": 9}, "n_embd 9 is not divisible by n_head 2"),
        ({"pad_id": 23}, "pad_id is 23"), ({"activation": "tanh"}, "activation is 'tanh'"),
        ({"dropout": 1}, "dropout is 1"),
        ({"pooler": False}, "nsp is True and pooler is False"), ({"init": "gpt2"}, "init is 'gpt2'"),
        ({"n_inner": 0}, "n_inner is 0"), ({"n_segments": -1}, "n_segments is -1"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_built_is_refused_by_name(change, said):
    with pytest.raises(InputError, match=said):
        replace(CONFIGS["BERT"], **change)


def test_a_bare_encoder_has_vectors_and_no_loss():
    model = BERT(BERTConfig(**TINY, mlm=False, nsp=False))
    assert model.layers({"input_ids": [[1, 2]]})[-1].shape == (1, 2, 10)
    with pytest.raises(InputError, match="it has neither mlm nor nsp; put a head on it"):
        model.loss({"input_ids": [[1, 2]]})
    with pytest.raises(InputError, match="no masked LM head"):
        model.logits({"input_ids": [[1, 2]]})
