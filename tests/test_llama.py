"""Llama, Mixtral and DeepSeek-V3: their gradients, the initial loss, the cache, the presets, the device double."""

import math
from dataclasses import replace

import numpy as np
import pytest
import strict_device

from scratchgpt.check import gradient
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import KVCache
from scratchgpt.models.llama import PRESETS, DeepSeekConfig, Llama, LlamaConfig, count_parameters, parameter_spec
from scratchgpt.models.moe import MoEConfig
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

V, T = 13, 6
TINY = LlamaConfig(vocab_size=V, n_ctx=7, n_layer=2, n_head=4, n_kv_head=2, n_embd=8, n_inner=5, layer_norm_eps=1e-2)
DEEPSEEK = DeepSeekConfig(
    vocab_size=V, n_ctx=7, n_layer=2, n_head=2, n_embd=8, n_inner=5, q_rank=5, kv_rank=4, still_width=3, turned_width=2,
    value_width=5, layer_norm_eps=1e-2,
    moe=MoEConfig(6, 2, 3, 1, "sigmoid", n_groups=3, top_groups=2, scale=2.5, n_dense=1),
)  # fmt: skip
CONFIGS = {
    "llama": TINY,
    "llama, one key, tied": replace(TINY, n_kv_head=1, head_width=4, tied_head=True),
    "mixtral": replace(TINY, moe=MoEConfig(4, 2, 5)),
    "deepseek": DEEPSEEK,
    "deepseek, queries of x": replace(DEEPSEEK, q_rank=None, rotary_interleaved=False),
}
ROUNDING = 1e-12  # two orders of the same float64 sums of a few hundred terms differ by about 1e-15 of the largest


def random_model(config, dtype="float64", ops="reference", xp=None, seed=0):
    """Nothing trivial in it: the weights of the norms are random too."""
    model = Llama(config, seed=None, dtype=dtype, ops=table(ops), xp=xp)
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        one = "ln" in name or "norm" in name
        values = one + 0.4 * rng.standard_normal(model.params[name].shape)
        model.params[name][...] = model.xp.asarray(values.astype(dtype))
    return model


def make_batch(seed=1):
    rng = np.random.default_rng(seed)
    ids, mask = rng.integers(0, V, (3, T)), (np.arange(T) < np.array([T, 4, 5])[:, None]).astype(int)
    return {"input_ids": ids, "labels": np.where(mask, ids, -100), "attention_mask": mask}


@pytest.mark.parametrize("name", CONFIGS)
def test_backward_is_the_derivative_of_the_loss(name):
    model = random_model(replace(CONFIGS[name], dropout=0.2))

    def forward(flat):
        model.params.data[:] = flat
        return model.loss(make_batch(), dropout_key=5)

    def backward(dloss, cache):
        model.params.grad.fill(0)
        model.backward(cache, scale=float(dloss))
        return model.params.grad.copy()

    report = gradient(forward, backward, model.params.data.copy())
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_has_a_gradient(name):
    model = random_model(CONFIGS[name])
    model.backward(model.loss(make_batch())[1])
    for key in model.params.names:
        moved = "balance_bias" in key  # by a rule, not by its gradient
        assert (np.abs(model.params.grad_of(key)).max() > 1e-6) != moved, key


@pytest.mark.parametrize("name", CONFIGS)
def test_fast_table_gives_what_reference_gives(name):
    grads = []
    for ops in ("reference", "fast_cpu"):
        model = random_model(CONFIGS[name], ops=ops)
        loss, cache = model.loss(make_batch())
        model.backward(cache)
        grads.append(np.append(model.params.grad, loss))
    assert relative_error(grads[0], grads[1]) < ROUNDING


@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_with_a_cache_get_the_logits_they_get_together(name):
    model, ids = random_model(CONFIGS[name]), make_batch()["input_ids"]
    expected, cache = model.logits({"input_ids": ids}), KVCache(model, 3)
    for start, end in ((0, 3), (3, 4), (4, 6)):
        assert relative_error(model.next_logits(ids[:, start:end], cache), expected[:, end - 1]) < ROUNDING


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_starts_near_the_log_of_the_vocabulary(name):
    config = replace(CONFIGS[name], vocab_size=200, n_ctx=64, n_embd=64, n_inner=96, layer_norm_eps=1e-6)
    ids = np.random.default_rng(0).integers(0, 200, (8, 64))
    loss, _ = Llama(config).loss({"input_ids": ids}, balance=False)
    assert abs(float(loss) - math.log(200)) < 0.1


# Touvron et al. 2023, table 2; mistral.ai, Mixtral of experts (2023); DeepSeek-V3's README_WEIGHTS.md.
# In all, and for one token: Mixtral's figure counts the whole token embedding, of which a token reads one row;
# DeepSeek's says that it does, but its parts add up to 37.55e9 with it, and to 36.63e9 without.
PUBLISHED = {
    "llama-7b": (6.7e9, 6.7e9), "llama-13b": (13.0e9, 13.0e9), "llama-33b": (32.5e9, 32.5e9),
    "llama-65b": (65.2e9, 65.2e9), "mixtral-8x7b": (46.7e9, 12.9e9), "deepseek-v3": (671e9, 36.7e9),
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_published_number_of_parameters(preset):
    counts, active = (count_parameters(PRESETS[preset], active) for active in (False, True))
    if preset == "deepseek-v3":
        del active["token embedding"]
    assert (sum(counts.values()), sum(active.values())) == pytest.approx(PUBLISHED[preset], rel=0.01)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parts_add_up_to_the_parameters_that_exist(name):
    config = CONFIGS[name]
    assert sum(count_parameters(config).values()) == Llama(config).params.data.size
    assert not [key for key in parameter_spec(config) if "bias" in key and "balance" not in key]


def train(xp, config, dtype):
    """Three steps of two micro-batches with padding, ignored labels, clipping and dropout; what they leave."""
    model = Llama(config, seed=0, dtype=dtype, ops=table("reference"), xp=xp)
    optimizer, shards, left = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(3):
        batches = [make_batch(seed=2 * step), make_batch(seed=2 * step + 1)]
        left.append(shards.loss_and_grad(batches, seed=1, step=step))
        left.append(optimizer.step(1e-2, max_norm=1.0))
        if config.moe:
            model.move_biases(shards.routing()[0])
    cache = KVCache(model, 2)
    left += [model.next_logits(ids, cache) for ids in ([[1, 2, 3], [4, 5, 6]], [[7], [8]])]
    return [*left, model.params.data, optimizer.m, optimizer.v]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONFIGS)
def test_training_and_generating_on_the_device_double_give_the_bits_of_numpy(name, dtype):
    config = replace(CONFIGS[name], dropout=0.2)
    for host, device in zip(train(np, config, dtype), train(strict_device, config, dtype), strict=True):
        host = np.asarray(host)
        assert host.dtype == device.dtype and np.array_equal(host, device.get())


@pytest.mark.parametrize("change, said", [
    ({"n_kv_head": 3}, "n_kv_head is 3"), ({"n_kv_head": 0}, "n_kv_head is 0"), ({"n_head": 0}, "n_head is 0"),
    ({"head_width": 3}, "head_width is 3"), ({"activation": "tanh"}, "activation is 'tanh'"),
    ({"rotary_base": 0.0}, "rotary_base is 0"), ({"dropout": 1.0}, "dropout is 1"), ({"n_inner": 0}, "n_inner is 0"),
    ({"moe": {"n_dense": 2}}, "n_dense is 2"), ({"kv_rank": 0}, "kv_rank is 0"), ({"q_rank": 0}, "q_rank is 0"),
    ({"turned_width": 3}, "turned_width is 3"), ({"q_rank": 1, "moe": None}, "moe is None"),
])  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(DEEPSEEK if {"kv_rank", "q_rank", "turned_width"} & change.keys() else TINY, **change)
