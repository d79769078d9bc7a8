"""T5: its gradients, what may see what, generation with a cache, the initial loss, the presets, the device double."""

import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import strict_device
from safetensors.numpy import load_file, save_file

from scratchgpt import interop
from scratchgpt.check import gradient
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards, dropout_key
from scratchgpt.errors import InputError
from scratchgpt.models.t5 import PRESETS, T5, DecoderCache, T5Config, count_parameters, parameter_spec, shift_right
from scratchgpt.ops import table
from scratchgpt.optim import AdamW
from scratchgpt.sampling import generate_output

V, S, T = 13, 7, 5  # vocabulary, tokens of the input and of the output
TINY = T5Config(vocab_size=V, n_ctx=11, n_layer=2, n_decoder_layer=3, n_head=2, n_embd=5, head_width=3, n_inner=7,
                n_buckets=4, max_distance=6, layer_norm_eps=1e-2, pad_id=3, start_id=2)  # fmt: skip
CONFIGS = {
    "1.0": TINY,
    "1.1": replace(TINY, gated=True, tied_head=False, activation="gelu_tanh", n_decoder_layer=1),
    "gated, tied": replace(TINY, gated=True, activation="silu", n_layer=1, n_decoder_layer=None),
}
ROUNDING = 1e-12  # two orders of the same float64 sums of a few hundred terms differ by about 1e-15 of the largest


def random_model(config=TINY, dtype="float64", ops="reference", seed=0, xp=None):
    """Nothing trivial in it: the weights of the norms are random too."""
    model = T5(config, seed=None, dtype=dtype, ops=table(ops), xp=xp)
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        values = ("ln" in name) + 0.4 * rng.standard_normal(model.params[name].shape)
        model.params[name][...] = model.xp.asarray(values.astype(dtype))
    return model


def make_batch(rows=3, seed=1):
    """Inputs of different lengths; in the outputs ignored labels at the end and in between."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, V, (rows, T))
    labels[-1, 3:] = labels[0, 1] = -100
    mask = np.arange(S) < np.array([S, 2, 5, 4])[:rows, None]
    return {"input_ids": rng.integers(0, V, (rows, S)), "attention_mask": mask.astype(int), "labels": labels}


def loss_and_grad(model, batch, **options):
    model.params.grad.fill(0)
    loss, cache = model.loss(batch, **options)
    model.backward(cache)
    return float(loss), model.params.grad.copy()


def assert_same(a, b):
    assert abs(a[0] - b[0]) <= ROUNDING * abs(b[0])
    assert relative_error(a[1], b[1]) <= ROUNDING


# the derivative of the whole


@pytest.mark.parametrize(("name", "dropout_key"), [("1.0", None), ("1.1", 5), ("gated, tied", None)])
def test_backward_is_the_derivative_of_the_loss(name, dropout_key):
    config = replace(CONFIGS[name], dropout=0.2)
    real, analytic = (random_model(config, dtype) for dtype in ("float64", "complex128"))

    def forward(flat):
        model = analytic if np.iscomplexobj(flat) else real
        model.params.data[:] = flat
        return model.loss(make_batch(), dropout_key=dropout_key)

    def backward(dloss, cache):
        real.params.grad.fill(0)
        real.backward(cache, scale=float(dloss))
        return real.params.grad.copy()

    report = gradient(forward, backward, real.params.data.copy())
    assert report.ok, f"\n{report}"
    assert {row.method for row in report} == {"complex step"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_has_a_gradient(name):
    model = random_model(CONFIGS[name])
    loss_and_grad(model, make_batch())
    for key in model.params.names:
        assert np.abs(model.params.grad_of(key)).max() > 1e-6, key


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_add_to_what_is_there(name):
    model = random_model(CONFIGS[name])
    _, expected = loss_and_grad(model, make_batch())
    for _ in range(2):
        model.backward(model.loss(make_batch())[1], scale=0.5)
    assert relative_error(model.params.grad, 2 * expected) <= ROUNDING


@pytest.mark.parametrize("name", CONFIGS)
def test_fast_table_gives_what_reference_gives(name):
    reference, fast = (random_model(CONFIGS[name], ops=ops) for ops in ("reference", "fast_cpu"))
    assert_same(loss_and_grad(fast, make_batch()), loss_and_grad(reference, make_batch()))
    assert relative_error(fast.logits(make_batch()), reference.logits(make_batch())) <= ROUNDING


# what may see what


def changed(batch, name, at, row=0):
    array = batch[name].copy()
    array[row, at] = (array[row, at] + 1) % V
    return batch | {name: array}


def test_the_decoder_sees_no_later_token():
    model, batch = random_model(), make_batch()
    batch["labels"][batch["labels"] == -100] = 4
    before, after = model.logits(batch), model.logits(changed(batch, "labels", 2))
    assert np.array_equal(before[:, :3], after[:, :3])  # label 2 is read at position 3
    assert np.all(before[0, 3:] != after[0, 3:])
    assert np.array_equal(before[1:], after[1:])


@pytest.mark.parametrize("at", range(S))
def test_every_token_of_the_output_sees_every_token_of_the_input(at):
    model, batch = random_model(), make_batch()
    before, after = model.logits(batch), model.logits(changed(batch, "input_ids", at))
    assert np.all(np.abs(before[0] - after[0]).max(-1) > 1e-9)
    assert np.array_equal(before[1:], after[1:])


def test_the_encoder_sees_both_sides_and_the_order():
    model = random_model()
    ids = np.arange(S)[None]
    before, after = (model.encode({"input_ids": each}) for each in (ids, changed({"x": ids}, "x", 3)["x"]))
    assert np.all(np.abs(before - after).max(-1) > 1e-9)
    backwards = model.encode({"input_ids": ids[:, ::-1]})
    assert not np.allclose(before, backwards[:, ::-1])  # without positions they would be the same


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_of_the_input_and_ignored_labels_change_nothing(name):
    model, batch = random_model(CONFIGS[name]), make_batch()
    short = {"input_ids": batch["input_ids"][1:2, :2], "labels": batch["labels"][1:2]}
    padded = {key: batch[key][1:2] for key in batch}
    padded["labels"] = np.pad(padded["labels"], ((0, 0), (0, 2)), constant_values=-100)
    assert relative_error(model.logits(padded)[:, :T], model.logits(short)) <= ROUNDING
    assert_same(loss_and_grad(model, padded), loss_and_grad(model, short))


def test_the_decoder_reads_the_labels_one_to_the_right():
    labels = np.array([[7, -100, 8], [1, 2, -100]])
    assert shift_right(labels, start_id=2, pad_id=3).tolist() == [[2, 7, 3], [2, 1, 2]]
    model, batch = random_model(), make_batch()
    explicit = batch | {"decoder_input_ids": shift_right(batch["labels"], TINY.start_id, TINY.pad_id)}
    assert np.array_equal(model.logits(batch), model.logits(explicit))
    assert loss_and_grad(model, batch)[0] == loss_and_grad(model, explicit)[0]


# a step is a sum over shards


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_micro_batches_add_up_to_the_whole_batch(threads):
    model, batch = random_model(replace(TINY, dropout=0.2)), make_batch(rows=4)
    shards = Shards(model, threads=threads)
    parts = [{name: array[rows] for name, array in batch.items()} for rows in (slice(0, 1), slice(1, 4))]
    for batches in ([batch], parts):
        whole = loss_and_grad(model, batch)
        assert_same((float(shards.loss_and_grad(batches)), model.params.grad), whole)
    dropped = loss_and_grad(model, batch, dropout_key=dropout_key(seed=3, step=1))
    assert_same((float(shards.loss_and_grad([batch], seed=3, step=1)), model.params.grad), dropped)
    assert dropped[0] != whole[0]


def test_places_of_dropout_are_all_different():
    model = T5(replace(TINY, dropout=0.5))
    sites = []

    def dropout_forward(x, p, key, start=0):
        sites.append(key)
        return table("reference").dropout_forward(x, p, key, start)

    def residual_dropout_forward(x, branch, p, key, start=0):
        sites.append(key)
        return table("reference").residual_dropout_forward(x, branch, p, key, start)

    model.ops = model.ops.replace(dropout_forward=dropout_forward, residual_dropout_forward=residual_dropout_forward)
    model.loss(make_batch(), dropout_key=100)
    assert sorted(sites) == list(range(100, 100 + 2 + 2 * TINY.n_layer + 2 + 3 * TINY.decoder_layers))


# generation


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1), (3, 2), (5,)])
def test_tokens_with_a_cache_get_the_logits_they_get_together(name, pieces):
    model, batch = random_model(CONFIGS[name]), make_batch()
    decoder_ids = np.random.default_rng(4).integers(0, V, (3, T))
    whole = model.logits(batch | {"labels": None, "decoder_input_ids": decoder_ids})
    cache, at = DecoderCache(model, batch), 0
    for n in pieces:
        logits = model.next_logits(decoder_ids[:, at : at + n], cache)
        at += n
        assert relative_error(logits, whole[:, at - 1]) <= ROUNDING
    assert cache.length == T


def test_the_input_is_encoded_once_for_all_tokens():
    model, calls = random_model(), []

    def counted(ids, wte, wpe=None, start=0):
        calls.append(np.shape(ids))
        return table("reference").embedding_forward(ids, wte, wpe, start)

    model.ops = model.ops.replace(embedding_forward=counted)
    cache = DecoderCache(model, make_batch())
    for _ in range(4):
        model.next_logits([[1], [2], [3]], cache)
    assert calls == [(3, S)] + 4 * [(3, 1)]


SETTINGS = {
    "greedy": {"temperature": 0},
    "temperature": {"temperature": 0.7},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.6},
}


def endless(config=TINY, **options):
    """A model that never says its end of sequence for the input 1 2 3, and what it says."""
    for eos_id in range(V):
        model = random_model(replace(config, eos_id=eos_id))
        output = list(generate_output(model, [1, 2, 3], **options))
        if len(output) == config.n_ctx:
            return model, output
    raise AssertionError("every token is said")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_cache_changes_no_token_of_an_output(name, setting):
    options = {"seed": 7} | SETTINGS[setting]
    model, output = endless(CONFIGS[name], **options)
    assert list(generate_output(model, [1, 2, 3], **options, use_cache=False)) == output


def test_an_output_ends_with_the_end_of_sequence_or_at_its_longest():
    options = {"temperature": 0.7, "seed": 2}
    model, output = endless(**options)
    assert list(generate_output(model, [1, 2, 3], max_new_tokens=3, **options)) == output[:3]
    for end in set(output):
        model.config = replace(TINY, eos_id=end)
        assert list(generate_output(model, [1, 2, 3], **options)) == output[: output.index(end)]


def test_the_output_is_the_likeliest_at_temperature_0():
    model, output = endless(temperature=0)
    logits = model.logits({"input_ids": [[1, 2, 3]], "labels": [output]})[0]
    assert logits.argmax(-1).tolist() == output


@pytest.mark.parametrize(
    ("ids", "options", "said"),
    [
        ([], {}, r"input_ids has shape \(1, 0\); expected \(B, T\)"),
        ([1] * 12, {}, "the input has 12 tokens; this model takes n_ctx 11"),
        ([V], {}, f"input_ids holds {V}; this model's vocabulary is 0 to {V - 1}"),
        ([1], {"temperature": -1}, "temperature is -1; expected 0"),
        ([1], {"max_new_tokens": -1}, "max_new_tokens is -1; expected at least 0"),
        ([1], {"top_k": 0}, "top_k is 0; expected at least 1"),
    ],
)
def test_generation_of_an_output_refuses_before_it_begins(ids, options, said):
    with pytest.raises(InputError, match=said):
        generate_output(T5(TINY), ids, **options)


# how it begins


def test_initial_weights_have_the_standard_deviations_of_t5():
    config = T5Config(vocab_size=301, n_layer=2, n_head=4, n_embd=48, head_width=16, n_inner=97, gated=True,
                      tied_head=False)  # fmt: skip
    store, C, A, F = T5(config, seed=11).params, 48, 64, 97
    expected = {"wte": 1, "q": (C * 16) ** -0.5, "k": C**-0.5, "v": C**-0.5, "out": A**-0.5, "gate": C**-0.5,
                "up": C**-0.5, "down": F**-0.5, "relative": C**-0.5, "head": C**-0.5}  # fmt: skip
    for name in store.names:
        array = store[name].astype("float64")
        if array.ndim == 1:
            assert np.all(array == 1), name
            continue
        std, n = expected[name.removesuffix(".weight").split(".")[-1]], array.size
        # of n normal draws the sample's std is off by std / sqrt(2n): four and a half of those
        assert abs(array.std() / std - 1) < 4.5 / math.sqrt(2 * n), name


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_starts_near_the_log_of_the_vocabulary_and_a_half(gated, seed):
    config = T5Config(vocab_size=2048, n_layer=3, n_head=4, n_embd=128, head_width=32, n_inner=256, gated=gated,
                      tied_head=not gated)  # fmt: skip
    rng = np.random.default_rng(seed)
    batch = {"input_ids": rng.integers(0, 2048, (4, 32)), "labels": rng.integers(0, 2048, (4, 32))}
    loss = float(T5(config, seed=seed).loss(batch)[0])
    # 128 targets, each with a logit of variance 1: their mean is off by 1 / sqrt(128) = 0.09; three of those
    assert abs(loss - (math.log(2048) + 0.5)) < 0.27


def test_it_learns_to_copy():
    options = {"n_layer": 1, "n_decoder_layer": 1, "n_embd": 24, "head_width": 8, "n_inner": 48, "n_buckets": 16}
    model = T5(replace(TINY, **options, max_distance=20, layer_norm_eps=1e-6), seed=0)
    optimizer, shards, rng = AdamW(model.params, model.ops), Shards(model, threads=1), np.random.default_rng(0)
    for _ in range(150):
        ids = rng.integers(4, V, (32, 2))
        loss = shards.loss_and_grad([{"input_ids": ids, "labels": ids}])
        optimizer.step(1e-2, max_norm=1.0)
    assert float(loss) < 0.2 < math.log(2) / 2  # what knowing both tokens and not their order would give


# counts


PUBLISHED = {  # as transformers counts the checkpoints; the paper rounds them to 60M, 220M, 770M, 2.8B and 11B
    "t5-small": 60_506_624, "t5-base": 222_903_552, "t5-large": 737_668_096, "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344, "t5-v1.1-small": 76_961_152, "t5-v1.1-base": 247_577_856,
    "t5-v1.1-large": 783_150_080, "t5-v1.1-xl": 2_849_757_184, "t5-v1.1-xxl": 11_135_332_352,
}  # fmt: skip


def test_presets_have_the_published_number_of_parameters_and_are_counted_without_allocating():
    tracemalloc.start()
    try:
        totals = {name: sum(count_parameters(config).values()) for name, config in PRESETS.items()}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert totals == PUBLISHED
    assert peak < 2_000_000


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parts_add_up_to_the_parameters_that_exist(name):
    config = CONFIGS[name]
    assert sum(count_parameters(config).values()) == T5(config).params.size
    assert ("output head" in count_parameters(config)) == (not config.tied_head)


def test_an_encoder_alone_has_no_decoder_and_says_nothing():
    config = replace(TINY, n_decoder_layer=0, tied_head=False)
    assert not any("decoder" in name or "head" in name for name in parameter_spec(config))
    model = random_model(config)
    assert model.encode(make_batch()).shape == (3, S, TINY.n_embd)
    with pytest.raises(InputError, match="this model is an encoder alone"):
        model.loss(make_batch())


# directories


@pytest.fixture
def directory(tmp_path):
    interop.save(random_model(dtype="float32"), tmp_path)
    return tmp_path


def rewrite(directory, change, **config):
    """Writes the weights again, as another program would: without our metadata, after change(tensors)."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


@pytest.mark.parametrize("name", [*CONFIGS, "encoder"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_model_loads_with_the_same_config_and_bits(name, dtype, tmp_path):
    config = replace(TINY, n_decoder_layer=0, dropout=0.2) if name == "encoder" else CONFIGS[name]
    model = random_model(config, dtype)
    interop.save(model, tmp_path)
    back = interop.load(tmp_path)
    assert back.config == config
    assert back.params.dtype == dtype
    assert json.loads((tmp_path / "config.json").read_text())["is_encoder_decoder"] == (name != "encoder")
    assert np.array_equal(back.params.data, model.params.data)


def test_the_aliases_of_the_embedding_may_be_stored_or_not(directory):
    expected = interop.load(directory).params.data
    aliases = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    rewrite(directory, lambda tensors: tensors.update({name: tensors["shared.weight"].copy() for name in aliases}))
    assert np.array_equal(interop.load(directory).params.data, expected)
    rewrite(directory, lambda tensors: tensors.pop("shared.weight"))
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_a_prefix_and_the_old_bias_of_cross_attention_are_passed_over(directory):
    expected = interop.load(directory).params.data

    def change(tensors):
        old = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        tensors[old] = np.zeros((4, 2), np.float32)
        for name in list(tensors):
            tensors["transformer." + name] = tensors.pop(name)

    rewrite(directory, change)
    assert np.array_equal(interop.load(directory).params.data, expected)


@pytest.mark.parametrize("said", [{"tie_word_embeddings": False}, {"scale_decoder_outputs": False}])
def test_either_of_two_keys_says_that_the_head_is_its_own(said, tmp_path):
    model = random_model(CONFIGS["1.1"], "float32")
    interop.save(model, tmp_path)
    rewrite(tmp_path, lambda tensors: None, **{"tie_word_embeddings": True, "scale_decoder_outputs": True} | said)
    back = interop.load(tmp_path)
    assert not back.config.tied_head
    assert np.array_equal(back.params.data, model.params.data)


@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (lambda t: t.pop("shared.weight"), {}, "missing: shared.weight"),
        (lambda t: t.pop("decoder.block.2.layer.1.EncDecAttention.k.weight"), {},
         "missing: decoder.block.2.layer.1.EncDecAttention.k.weight"),
        (lambda t: t.update(more=np.zeros(1, np.float32)), {}, "unexpected: more"),
        (lambda t: t.update({"lm_head.weight": t["shared.weight"] + 1}), {}, "lm_head.weight differs from the embedd"),
        (lambda t: None, {"tie_word_embeddings": False}, "missing: lm_head.weight"),
        (lambda t: None, {"feed_forward_proj": "gated-gelu"}, "missing: .*wi_0.weight"),
        (lambda t: None, {"feed_forward_proj": "gated-tanh"}, "feed_forward_proj is 'gated-tanh', which is not supp"),
        (lambda t: None, {"d_kv": 4}, r"SelfAttention.q.weight has shape \[6, 5\]; config.json makes it \[8, 5\]"),
        (lambda t: None, {"num_decoder_layers": 10**6}, "config.json says n_layer 1000000; there are only"),
        (lambda t: None, {"decoder_start_token_id": V}, f"start_id is {V}; expected a token"),
        (lambda t: None, {"is_decoder": True}, "is_decoder is True, which is not supported"),
    ],
)  # fmt: skip
def test_a_directory_that_does_not_fit_is_refused_by_name(change, config, said, directory):
    rewrite(directory, change, **config)
    with pytest.raises(InputError, match=said) as caught:
        interop.load(directory)
    assert str(directory) in str(caught.value) and "\n" not in str(caught.value)


# the device double


def train(xp, config, dtype):
    """Three steps of two micro-batches with padding, ignored labels, clipping and dropout; what they leave."""
    model = T5(config, seed=0, dtype=dtype, ops=table("reference"), xp=xp)
    optimizer, shards, left = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(3):
        batches = [make_batch(seed=2 * step), make_batch(seed=2 * step + 1)]
        left.append(shards.loss_and_grad(batches, seed=1, step=step))
        left.append(optimizer.step(1e-2, max_norm=1.0))
    return [*left, model.params.data, optimizer.m, optimizer.v]


def same_bits(host, device):
    return host.dtype == device.dtype and np.array_equal(host, device.get(), equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONFIGS)
def test_three_training_steps_on_the_device_double_give_the_bits_of_numpy(name, dtype):
    config = replace(CONFIGS[name], dropout=0.2)
    pairs = zip(train(np, config, dtype), train(strict_device, config, dtype), strict=True)
    assert all(same_bits(np.asarray(a), b) for a, b in pairs)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_with_and_without_a_cache_on_the_device_double_give_the_bits_of_numpy(name):
    results = []
    for xp in (np, strict_device):
        model, batch = random_model(CONFIGS[name], "float32", xp=xp), make_batch()
        cache = DecoderCache(model, batch)
        steps = [model.next_logits(ids, cache) for ids in ([[1], [2], [3]], [[4, 5], [6, 7], [8, 9]])]
        results.append([model.logits(batch), model.encode(batch), *steps])
    assert all(same_bits(a, b) for a, b in zip(*results, strict=True))


# errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_ids": None}, "the batch has no input_ids; its keys are input_ids, attention_mask, labels"),
        ({"labels": None}, "the batch has no labels, which the decoder is to say; its keys are input_ids"),
        ({"labels": None, "decoder_input_ids": [[1]] * 3}, "the batch has no labels"),
        ({"labels": [[1, 2]]}, r"labels has shape \(1, 2\); expected \(3, T\)"),
        ({"labels": [[1.0]] * 3}, "labels has type float64; expected integers"),
        ({"labels": [[V]] * 3}, f"labels holds {V}; this model's vocabulary is 0 to {V - 1}"),
        ({"labels": [[-7]] * 3}, "labels holds -7; this model's vocabulary"),
        ({"input_ids": [[-100] * S] * 3}, "input_ids holds -100; this model's vocabulary"),
        ({"input_ids": [[1] * 12] * 3, "attention_mask": None}, "the input has 12 tokens; this model takes n_ctx 11"),
        ({"labels": [[1] * 12] * 3}, "the output has 12 tokens; this model takes n_ctx 11"),
        ({"attention_mask": [[1]]}, r"attention_mask has shape \(1, 1\); expected input_ids' shape \(3, 7\)"),
        ({"decoder_input_ids": [[1]] * 3}, r"decoder_input_ids has shape \(3, 1\); expected labels' shape \(3, 5\)"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_by_name(change, said):
    with pytest.raises(InputError, match=said):
        T5(TINY).loss(make_batch() | change)


def test_generation_beyond_the_longest_output_is_refused():
    model = T5(TINY)
    cache = DecoderCache(model, make_batch(rows=1))
    for _ in range(TINY.n_ctx):
        model.next_logits([[1]], cache)
    with pytest.raises(InputError, match="the output has 12 tokens; this model takes n_ctx 11"):
        model.next_logits([[1]], cache)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_head": 0}, "n_head is 0; expected at least 1"),
        ({"n_decoder_layer": -1}, "n_decoder_layer is -1; expected at least 0, or None"),
        ({"activation": "tanh"}, "activation is 'tanh'; expected relu, gelu_tanh, gelu or silu"),
        ({"n_buckets": 3}, "n_buckets is 3 and max_distance 6; expected at least 4 buckets"),
        ({"n_buckets": 12}, "n_buckets is 12 and max_distance 6; expected .* fewer than twice the distance"),
        ({"dropout": 1.0}, "dropout is 1.0; expected 0 <= dropout < 1"),
        ({"eos_id": V}, f"eos_id is {V}; expected a token, 0 to {V - 1}"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(TINY, **change)
