"""What is true of every head: its derivative, what it reads, what it ignores, sums over shards, the best span."""

import math
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
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig, SpanBERTConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.heads import MODELS, HeadConfig, best_spans, put_head
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

# Two orders of the same float64 sums of at most a few hundred terms differ by about 1e-15 of the largest.
ROUNDING = 1e-12
SEEDS = st.integers(0, 2**32 - 1)
SHAPE = {"vocab_size": 23, "n_ctx": 9, "n_layer": 2, "n_head": 2, "n_embd": 10, "n_inner": 14}
BACKBONES = {
    "BERT": BERTConfig(**SHAPE),
    "RoBERTa": RoBERTaConfig(**SHAPE),
    "GPT": GPTConfig(**SHAPE),
    "GPT-1, untied": GPTConfig(**SHAPE, norm_first=False, tied_head=False),
}
HEADS = {
    "single": {"task": "sentence", "labels": ("a", "b", "c")},
    "multi": {"task": "sentence", "labels": ("a", "b", "c"), "problem": "multi"},
    "regression": {"task": "sentence", "labels": ("x",), "problem": "regression"},
    "two orders": {"task": "sentence", "labels": ("a", "b")},
    "tag": {"task": "tag", "labels": ("a", "b", "c")},
    "span": {"task": "span"},
    "choice": {"task": "choice"},
}
CASES = [(backbone, head) for backbone in BACKBONES for head in HEADS]


def make(backbone, head, dtype="float64", ops="reference", seed=1, xp=None, **fixed):
    """A head with nothing trivial in it; on a GPT all but spans have the language model's loss besides."""
    options = dict(HEADS[head])
    if backbone.startswith("GPT") and options["task"] != "span":
        options["lm_weight"] = 0.5
    config = HeadConfig(replace(BACKBONES[backbone], **fixed), **options)
    model = MODELS[config.task](config, seed=None, dtype=dtype, ops=table(ops), xp=xp)
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        is_norm_weight = "ln" in name and name.endswith("weight")
        values = is_norm_weight + 0.4 * rng.standard_normal(model.params[name].shape)
        model.params[name][...] = model.xp.asarray(values.astype(model.params.dtype))
    return model


def draw_batch(model, head, seed, rows=5):
    rng = np.random.default_rng(seed)
    config, T = model.config, 9
    R = {"two orders": 2, "choice": 3}.get(head, 1)
    pad = getattr(config, "pad_id", 0)
    lengths = rng.integers(4, T + 1, rows * R)[:, None]
    real = np.arange(T) < lengths
    ids = np.where(real, rng.integers(pad + 1, 23, (rows * R, T)), pad)
    batch = {"input_ids": ids, "attention_mask": real.astype(int)}
    if isinstance(config.backbone, BERTConfig):
        batch["token_type_ids"] = (np.arange(T) > 3).astype(int) * real * (config.n_segments > 1)
    if R > 1:
        batch = {name: array.reshape(rows, R, T) for name, array in batch.items()}
    some = np.arange(rows) == 1  # this row has no label
    if head == "tag":
        batch["labels"] = np.where(real & (rng.random(real.shape) < 0.6), rng.integers(0, 3, real.shape), IGNORED)
        batch["labels"][0, 0] = 1
    elif head == "span":
        start, end = rng.integers(1, 3, rows), rng.integers(2, 4, rows)
        batch |= {"start_positions": np.where(some, IGNORED, start), "end_positions": np.where(some, IGNORED, end)}
        batch["context_mask"] = (real & (np.arange(T) > 0)).astype(int)
    elif head == "multi":
        batch["labels"] = rng.integers(0, 2, (rows, 3))
    elif head == "regression":
        batch["labels"] = rng.standard_normal(rows)
    else:
        batch["labels"] = np.where(some, IGNORED, rng.integers(0, R if head == "choice" else config.n_outputs, rows))
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


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_every_gradient_is_the_derivative_of_the_loss_by_complex_step(backbone, head):
    """Along a random direction in each tensor, Im loss(w + ihd) / h (exact to rounding) equals gradient . d. Dropout is
    on: with a fixed key it is part of the function."""
    model = make(backbone, head, ops="fast_cpu", dropout=0.2)
    batch = draw_batch(model, head, 2)
    loss_and_grad(model, batch, dropout_key=5)
    analytic = make(backbone, head, "complex128", dropout=0.2)
    rng = np.random.default_rng(3)
    for name in model.params.names:
        direction = rng.standard_normal(model.params[name].shape)
        analytic.params.data[:] = model.params.data
        analytic.params[name].imag = 1e-30 * direction
        slope = complex(analytic.loss(batch, dropout_key=5)[0]).imag / 1e-30
        gradient = model.params.grad_of(name)
        # a dot product with a random direction is of the gradient's own size; below 1e-6 the gradient is rounding
        size = max(float(np.sqrt((gradient**2).sum())), 1e-6)
        assert abs(slope - float((gradient * direction).sum())) < 1e-9 * size, name


# what is read


@pytest.mark.parametrize("backbone", ["GPT", "GPT-1, untied"])
@given(seed=SEEDS)
def test_a_gpts_sentence_is_read_off_its_last_token_wherever_the_padding_is(backbone, seed):
    model = make(backbone, "single", seed=seed)
    ids = np.random.default_rng(seed).integers(1, 23, (3, 6))
    expected = model.logits({"input_ids": ids})
    padded = np.pad(ids, ((0, 0), (0, 3)))
    mask = np.pad(np.ones_like(ids), ((0, 0), (0, 3)))
    assert relative_error(model.logits({"input_ids": padded, "attention_mask": mask}), expected) < ROUNDING
    changed = ids.copy()
    changed[:, -1] = changed[:, -1] % 22 + 1
    assert not np.any(model.logits({"input_ids": changed}) == expected)


@given(seed=SEEDS)
def test_the_two_orders_of_a_pair_may_be_exchanged(seed):
    model = make("GPT", "two orders", seed=seed)
    batch = draw_batch(model, "two orders", seed)
    turned = {name: array[:, ::-1] if array.ndim == 3 else array for name, array in batch.items()}
    assert_same(loss_and_grad(model, turned), loss_and_grad(model, batch))
    one = {name: array[:, 0] for name, array in batch.items() if array.ndim == 3}
    other = {name: array[:, 1] for name, array in batch.items() if array.ndim == 3}
    summed = model.logits(one) + model.logits(other)  # GPT's classifier has no bias: the sum of both
    assert relative_error(model.logits(batch), summed) < ROUNDING


@given(seed=SEEDS)
def test_exchanging_choices_exchanges_their_logits(seed):
    model = make("BERT", "choice", seed=seed)
    batch = draw_batch(model, "choice", seed)
    order = [2, 0, 1]
    turned = {name: array[:, order] if array.ndim == 3 else array for name, array in batch.items()}
    assert relative_error(model.logits(turned), model.logits(batch)[:, order]) < ROUNDING


@given(seed=SEEDS)
def test_the_language_models_part_is_the_gpts_own_loss_over_each_row(seed):
    model = make("GPT", "single", seed=seed)
    batch = draw_batch(model, "single", seed)
    alone = MODELS["sentence"](replace(model.config, lm_weight=0.0), seed=None, dtype="float64", ops=model.ops)
    alone.params.data[:] = model.params.data
    extra = float(model.loss(batch)[0]) - float(alone.loss(batch)[0])
    rows = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"]):
        rows.append(float(model.backbone.loss({"input_ids": ids[None, : mask.sum()]})[0]))
    n = model.count_targets(batch)  # a row without a label counts in the sum, as the text is there
    assert math.isclose(extra, 0.5 * sum(rows) / n, rel_tol=1e-9)


@given(seed=SEEDS)
def test_beside_tags_each_rows_language_loss_counts_as_its_tags_do(seed):
    """The loss of tags is a mean over words; that of the texts beside it is still a mean over texts."""
    model = make("GPT", "tag", seed=seed)
    batch = draw_batch(model, "tag", seed)
    alone = MODELS["tag"](replace(model.config, lm_weight=0.0), seed=None, dtype="float64", ops=model.ops)
    alone.params.data[:] = model.params.data
    extra = float(model.loss(batch)[0]) - float(alone.loss(batch)[0])
    rows = [float(model.backbone.loss({"input_ids": ids[None, : mask.sum()]})[0])
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"])]  # fmt: skip
    assert math.isclose(extra, 0.5 * np.average(rows, weights=(batch["labels"] != IGNORED).sum(1)), rel_tol=1e-9)


# the context of a span


@given(seed=SEEDS)
def test_what_is_outside_the_context_is_never_the_answer(seed):
    """The loss with a mask is the softmax over the context alone."""
    model = make("BERT", "span", seed=seed)
    batch = draw_batch(model, "span", seed)
    starts, ends = model.logits(batch)
    nll = []
    for row in range(5):
        if batch["start_positions"][row] != IGNORED:
            for logits, name in ((starts, "start_positions"), (ends, "end_positions")):
                inside = np.where(batch["context_mask"][row], logits[row], -np.inf)
                nll.append(np.log(np.exp(inside).sum()) - logits[row, batch[name][row]])
    assert math.isclose(float(model.loss(batch)[0]), np.mean(nll), rel_tol=1e-9)


def best_by_loops(starts, ends, context, longest):
    best = (-math.inf, 0, 0)
    for first in range(len(starts)):
        for last in range(first, min(len(starts), first + longest)):
            if context[first] and context[last] and starts[first] + ends[last] > best[0]:
                best = (starts[first] + ends[last], first, last)
    return best[1], best[2], best[0]


@given(SEEDS, st.integers(1, 8), st.integers(1, 9), st.floats(0, 1))
def test_best_spans_are_those_that_loops_find(seed, T, longest, share):
    rng = np.random.default_rng(seed)
    starts, ends = np.round(rng.standard_normal((2, 4, T)), 1)  # rounded: some are equal
    context = rng.random((4, T)) < share
    first, last, score = best_spans(starts, ends, context, longest)
    for row in range(4):
        assert (first[row], last[row], score[row]) == best_by_loops(starts[row], ends[row], context[row], longest)


def test_best_spans_end_no_earlier_than_they_start():
    starts, ends = np.array([[0.0, 0.0, 9.0]]), np.array([[9.0, 1.0, 0.5]])
    first, last, score = best_spans(starts, ends)
    assert (first[0], last[0], score[0]) == (2, 2, 9.5)  # the largest start and the largest end alone would be 2 to 0


# a step is a sum over shards


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_any_number_of_threads_and_micro_batches_gives_the_gradient_of_the_whole_batch(backbone, head):
    model = make(backbone, head, ops="fast_cpu")
    batch = draw_batch(model, head, 4)
    whole = loss_and_grad(model, batch)
    parts = [{name: array[a:b] for name, array in batch.items()} for a, b in ((0, 2), (2, 5))]
    for threads in (1, 3):
        loss = float(Shards(model, threads).loss_and_grad(parts))
        assert_same((loss, model.params.grad), whole)


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_dropout_drops_the_same_elements_however_a_batch_is_split(backbone, head):
    model = make(backbone, head, dropout=0.3)
    batch = draw_batch(model, head, 5)
    results = []
    for threads, activation_bytes in ((1, 1 << 40), (3, 1 << 40), (2, 1)):  # the last: a row at a time
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, "ACTIVATION_BYTES", activation_bytes)
            loss = float(Shards(model, threads).loss_and_grad([batch], seed=7, step=11))
        results.append((loss, model.params.grad.copy()))
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])
    assert abs(results[0][0] - loss_and_grad(model, batch)[0]) > 1e-9  # and it does drop some


def test_a_row_of_several_inputs_takes_the_memory_of_them_all():
    shards = Shards(make("BERT", "choice"), 1)
    rows = [shards.rows_at_once({"input_ids": np.ones(shape, int)}) for shape in ((2, 4, 9), (2, 36), (2, 9))]
    assert 1 < rows[0] == rows[1] < rows[2]


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_every_place_where_dropout_is_applied_draws_a_mask_of_its_own(backbone, head):
    right, keys = table("reference"), []

    def dropout(x, p, key, start=0):
        keys.append(key)
        return right.dropout_forward(x, p, key, start)

    def residual_dropout(x, branch, p, key, start=0):
        keys.append(key)
        return right.residual_dropout_forward(x, branch, p, key, start)

    model = make(backbone, head, dropout=0.1)
    model.ops = right.replace(dropout_forward=dropout, residual_dropout_forward=residual_dropout)
    model.loss(draw_batch(model, head, 8), dropout_key=1000)
    classifier = head != "span"
    assert sorted(keys) == list(range(1000, 1000 + 1 + 2 * 2 + classifier))  # the embedding, two for each block


def test_backward_adds_to_the_gradient_and_scales_it():
    for backbone, head in CASES:
        model = make(backbone, head)
        batch = draw_batch(model, head, 6)
        _, once = loss_and_grad(model, batch)
        _, cache = model.loss(batch)
        model.backward(cache, scale=-0.5)  # onto the gradient that is there
        assert relative_error(model.params.grad, 0.5 * once) <= ROUNDING


@pytest.mark.parametrize("head", ["single", "tag", "span", "choice"])
def test_a_batch_without_labels_has_no_loss_and_no_gradient(head):
    model = make("BERT", head)
    batch = draw_batch(model, head, 7)
    batch |= {name: np.full_like(batch[name], IGNORED) for name in batch if name.endswith(("labels", "positions"))}
    assert loss_and_grad(model, batch)[0] == 0
    assert not model.params.grad.any()


# on a device


def train(xp, backbone, head, dtype="float32"):
    model = make(backbone, head, dtype, xp=xp, dropout=0.2)
    optimizer, shards, losses = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(2):
        batches = [draw_batch(model, head, step), draw_batch(model, head, step + 9)]
        losses.append(shards.loss_and_grad(batches, seed=1, step=step))
        losses.append(optimizer.step(1e-2, max_norm=1.0))
    logits = model.logits(draw_batch(model, head, 3))
    return [*losses, model.params.data, *(logits if isinstance(logits, tuple) else [logits])]


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_training_steps_on_the_strict_device_give_the_bits_of_numpy(backbone, head):
    for a, b in zip(train(np, backbone, head), train(strict_device, backbone, head), strict=True):
        assert np.array_equal(np.asarray(a), b.get())


@pytest.mark.gpu
@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_training_steps_on_the_device_equal_numpy(cupy, backbone, head):
    host, device = train(np, backbone, head, "float64"), train(cupy, backbone, head, "float64")
    for a, b in zip(host, device, strict=True):
        assert relative_error(np.asarray(a), to_host(b)) < 1e-10  # a rounding passes through a hundred ops


# a head on a pretrained model


@pytest.mark.parametrize("pretrained", [
    BERT(BERTConfig(**SHAPE), seed=1), BERT(RoBERTaConfig(**SHAPE), seed=1, dtype="float64"),
    BERT(SpanBERTConfig(**SHAPE), seed=1), GPT(GPTConfig(**SHAPE), seed=1),
], ids=["BERT", "RoBERTa", "SpanBERT", "GPT"])  # fmt: skip
@pytest.mark.parametrize("task", MODELS)
def test_a_head_starts_from_the_pretrained_weights_and_its_own_seed(pretrained, task):
    labels = ("a", "b") if task in ("sentence", "tag") else ()
    one, other = (put_head(pretrained, task, labels, seed=seed) for seed in (1, 2))
    shared = set(one.params.names) & set(pretrained.params.names)
    assert {name.split(".")[0] for name in set(one.params.names) - shared} <= {"classifier", "pooler"}
    assert {"wte", "blocks.1.mlp.down.weight"} <= shared
    for name in shared:
        assert np.array_equal(one.params[name], pretrained.params[name]), name
        assert not np.shares_memory(one.params[name], pretrained.params[name])
    assert not np.array_equal(one.params["classifier.weight"], other.params["classifier.weight"])
    assert one.params.dtype == pretrained.params.dtype
    assert not {"mlm.bias", "nsp.weight", "span.bias"} & set(one.params.names)


def test_an_untied_output_head_is_kept_only_where_it_is_trained():
    untied = replace(BACKBONES["GPT"], tied_head=False)
    assert "head.weight" not in MODELS["tag"](HeadConfig(untied, "tag", ("a", "b"))).params.names
    assert "head.weight" in MODELS["choice"](HeadConfig(untied, "choice", lm_weight=0.5)).params.names


def test_a_head_learns_what_is_there_to_learn():
    """Whether token 7 is in the text, where it is, and which of three texts has it."""
    rng = np.random.default_rng(0)
    ids = rng.integers(8, 23, (64, 3, 9))
    at, right = rng.integers(1, 9, 64), rng.integers(0, 3, 64)
    ids[np.arange(64), right, at] = 7
    tasks = {
        "sentence": {"input_ids": ids[:, 0], "labels": (ids[:, 0] == 7).any(1).astype(int)},
        "tag": {"input_ids": ids[:, 0], "labels": (ids[:, 0] == 7).astype(int)},
        "span": {"input_ids": ids[np.arange(64), right], "start_positions": at, "end_positions": at},
        "choice": {"input_ids": ids, "labels": right},
    }
    for task, batch in tasks.items():
        for backbone in ("BERT", "GPT"):
            labels = ("no", "yes") if task in ("sentence", "tag") else ()
            model = MODELS[task](HeadConfig(BACKBONES[backbone], task, labels), seed=1)
            optimizer, shards = AdamW(model.params, model.ops, weight_decay=0.0), Shards(model, 1)
            before = float(model.loss(batch)[0])
            for _ in range(60):
                shards.loss_and_grad([batch])
                optimizer.step(1e-2, max_norm=1.0)
            assert float(model.loss(batch)[0]) < 0.1 * before, (task, backbone)


# what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "rank"}, "task is 'rank'; expected sentence, tag, span, choice"),
        ({"task": "sentence", "labels": ("a",)}, "there are 1 labels; this head expects at least 2"),
        ({"task": "sentence", "labels": (), "problem": "regression"}, "there are 0 labels"),
        ({"task": "sentence", "labels": ("a", "a")}, "labels are a, a; expected each once"),
        ({"task": "sentence", "labels": ("a", "b"), "problem": "rank"}, "problem is 'rank'"),
        ({"task": "tag", "labels": ("a", "b"), "problem": "multi"}, "a token has a single tag"),
        ({"task": "span", "labels": ("a", "b")}, "a span head has no labels"),
        (
            {"task": "choice", "lm_weight": 0.5},
            "lm_weight is 0.5; expected .* 0 unless the backbone is a GPT",
        ),
    ],
)
def test_a_head_that_cannot_be_built_is_refused_by_name(options, said):
    with pytest.raises(InputError, match=said):
        HeadConfig(BACKBONES["BERT"], **options)


@pytest.mark.parametrize(
    ("head", "change", "said"),
    [
        ("single", {"input_ids": None}, "the batch has no input_ids; its keys are input_ids"),
        ("single", {"input_ids": [[1, 2], [3]]}, "input_ids has rows of different lengths"),
        ("single", {"attention_mask": [[1]]}, r"attention_mask has shape \(1, 1\)"),
        ("single", {"input_ids": [[[[1]]]]}, r"a sentence head expects \(B, T\) or \(B, R, T\)"),
        ("choice", {"input_ids": [[1, 2]]}, r"a choice head expects \(B, R, T\), several inputs to a row"),
        ("tag", {"input_ids": [[[1, 2]]]}, r"a tag head expects \(B, T\)"),
        ("single", {"labels": None}, "the batch has no labels"),
        ("single", {"labels": [0, 1]}, r"labels has shape \(2,\); expected \(5,\)"),
        ("single", {"labels": [3] * 5}, "labels holds 3; this model's labels are 0 to 2"),
        ("tag", {"labels": np.full((5, 9), 3)}, "labels holds 3; this model's tags are 0 to 2"),
        ("choice", {"labels": [3] * 5}, "labels holds 3; this model's choices are 0 to 2"),
        ("multi", {"labels": np.full((5, 3), 2)}, "labels holds something else than 0 and 1"),
        ("multi", {"labels": [1, 0, 1, 0, 1]}, r"labels has shape \(5,\) and type int64; expected numbers, \(5, 3\)"),
        ("regression", {"labels": [1.0, 2.0, 3.0, 4.0, np.nan]}, "a number that is not finite"),
        ("span", {"start_positions": None}, "the batch has no start_positions"),
        ("span", {"start_positions": [3] * 5, "end_positions": [2] * 5}, "row 0: the answer is from token 3 to 2"),
        ("span", {"start_positions": [0] * 5}, "row 0: the answer is from token 0 to .*, outside its context"),
        ("span", {"end_positions": [9] * 5}, "outside its context"),
        ("span", {"end_positions": [-100] * 5}, "a row without an answer has -100 twice"),
        ("span", {"end_positions": [[2]] * 5}, r"end_positions has shape \(5, 1\)"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_by_name(head, change, said):
    model = make("BERT", head)
    batch = draw_batch(model, head, 0)
    model.loss(batch)
    with pytest.raises(InputError, match=said):
        model.loss(batch | change)
