"""GPT runs on a device double that is stricter than CuPy, bit-equal to NumPy; and the double refuses what it should."""

import numpy as np
import pytest
import strict_device
from strategies import CASES, make_case
from strict_device import HiddenSync, Promotion

from scratchgpt.backend import array_module, to_host
from scratchgpt.distributed import Shards
from scratchgpt.models.gpt import GPT, GPTConfig, KVCache
from scratchgpt.models.moe import MoEConfig
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

SHAPE = {"vocab_size": 31, "n_ctx": 7, "n_layer": 2, "n_head": 2, "n_embd": 10}
CONFIGS = {
    "pre-norm, tied, tanh, dropout": GPTConfig(**SHAPE, dropout=0.2),
    "post-norm, untied, exact": GPTConfig(**SHAPE, norm_first=False, tied_head=False, activation="gelu", init="gpt2"),
    "mixtures, balanced by a loss": GPTConfig(**SHAPE, moe=MoEConfig(4, 2)),
    "mixtures, balanced by a bias": GPTConfig(
        **SHAPE, moe=MoEConfig(6, 2, 5, 1, "sigmoid", n_groups=3, top_groups=2, scale=2.5, balance=0.1)
    ),
}


def on_device(x):
    return strict_device.asarray(x) if isinstance(x, np.ndarray) else x


def same_bits(host, device):
    return host.dtype == device.dtype and np.array_equal(host, device.get(), equal_nan=True)


# Programs


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("on_any_device", ["reference", "flash"])
def test_op_gives_the_bits_of_numpy(on_any_device, name):
    case, ops = make_case(name).astype("float32"), table(on_any_device)
    out, gradients = case.run(ops)
    device_out, device_gradients = case.map(on_device).run(ops, on_device(case.dout()))
    assert same_bits(out, device_out)
    assert all(same_bits(a, b) for a, b in zip(gradients, device_gradients, strict=True))


def train(xp, config, dtype, on_any_device="reference"):
    """Three steps of two micro-batches with padding, ignored labels, clipping and dropout; what they leave."""
    rng = np.random.default_rng(0)
    model = GPT(config, seed=0, dtype=dtype, ops=table(on_any_device), xp=xp)
    optimizer, shards, losses = AdamW(model.params, model.ops), Shards(model, threads=1), []
    for step in range(3):
        losses.append(shards.loss_and_grad([micro_batch(rng), micro_batch(rng)], seed=1, step=step))
        losses.append(optimizer.step(1e-2, max_norm=1.0))
        if config.moe:
            losses += shards.routing()
            model.move_biases(shards.routing()[0])
    return model, [*losses, model.params.data, optimizer.m, optimizer.v]


def micro_batch(rng):
    ids = rng.integers(0, SHAPE["vocab_size"], (3, 8))
    mask = np.arange(8) < [[8], [5], [3]]
    return {"input_ids": ids, "attention_mask": mask.astype(int), "labels": np.where(mask, ids, -100)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_three_training_steps_give_the_bits_of_numpy(config, dtype):
    _, expected = train(np, config, dtype)
    model, got = train(strict_device, config, dtype)
    assert isinstance(model.params.data, strict_device.ndarray)
    assert all(same_bits(np.asarray(a), b) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_with_and_without_a_cache_give_the_bits_of_numpy(config):
    host, device = (GPT(config, seed=0, ops=table("reference"), xp=xp) for xp in (np, strict_device))
    ids = np.array([[1, 2, 3, 4, 5]])
    assert same_bits(host.logits({"input_ids": ids}), device.logits({"input_ids": ids}))
    caches = KVCache(host), KVCache(device)
    for part in (ids[:, :3], ids[:, 3:4], ids[:, 4:]):
        assert same_bits(*(model.next_logits(part, cache) for model, cache in zip((host, device), caches)))


def test_the_backend_knows_the_double():
    assert array_module(strict_device.zeros(3, np.float32)) is strict_device
    assert to_host(strict_device.ones(3, np.float32)).tolist() == [1, 1, 1]


# The double itself


@pytest.fixture
def x():
    return strict_device.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))


WAITS = {
    "bool": bool,
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "complex": lambda x: complex(x[0, 0]),
    "index": lambda x: range(3)[x.astype("int32")[0, 0]],
    "iteration": list,
    "membership": lambda x: 3 in x,
    "comparison in an if": lambda x: 1 if x[0, 0] == 0 else 2,
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "boolean mask": lambda x: x[x > 2],
    "boolean mask among others": lambda x: x[0, x[0] > 2],
    "nonzero": lambda x: x.nonzero(),
    "where alone": lambda x: strict_device.where(x > 2),
    "flatnonzero": lambda x: strict_device.flatnonzero(x),
    "unique": lambda x: strict_device.unique(x),
}
HOST = np.ones((2, 3), np.float32)
MIXES = {
    "operator": lambda x: x + HOST,
    "reflected operator": lambda x: HOST * x,
    "in place": lambda x: x.__iadd__(HOST),
    "host in place": lambda x: HOST.copy().__iadd__(x),
    "0-d": lambda x: x * np.array(2, np.float32),
    "list": lambda x: x - [1, 2, 3],
    "function": lambda x: strict_device.maximum(x, HOST),
    "keyword": lambda x: strict_device.where(x > 2, x, y=HOST),
    "inside a list": lambda x: strict_device.concatenate([x, HOST]),
    "method": lambda x: x.dot(HOST.T),
    "assignment": lambda x: x.__setitem__(0, HOST[0]),
    "assignment to the host": lambda x: HOST.copy().__setitem__(0, x[0]),
    "index": lambda x: x[np.array([0, 1])],
    "list index": lambda x: x[[0, 1]],
    "conversion": np.asarray,
    "NumPy function": np.sum,
}
PROMOTES = {
    "float64 scalar": lambda x: x * np.float64(2),
    "mean of integers": lambda x: x.astype("int32").mean(),
    "division of integers": lambda x: x.astype("int32") / 2,
    "zeros": lambda x: strict_device.zeros(3),
    "arange of a float": lambda x: strict_device.arange(3.0),
    "square root of integers": lambda x: strict_device.sqrt(x.astype("int32")),
    "in place": lambda x: x.__iadd__(x.astype("float64")),
    "in place, NumPy scalar": lambda x: x.__imul__(np.float64(2)),
    "assignment": lambda x: x.__setitem__(0, x.astype("float64")[0]),
    "add.at": lambda x: strict_device.add.at(x, strict_device.asarray([0]), x.astype("float64")[:1]),
}
ALLOWED = {
    "Python scalars": lambda x: 2 * x + 1.5,
    "in place": lambda x: x.__imul__(0.5),
    "astype": lambda x: x.astype("float64"),
    "float64 with float64": lambda x: x.astype("float64") * x,
    "explicit dtype": lambda x: strict_device.zeros((2, 3), np.float64),
    "dtype by keyword": lambda x: x.sum(dtype="float64"),
    "mask in where": lambda x: strict_device.where(x > 2, x, 0),
    "assignment through a mask": lambda x: x.__setitem__(x > 2, 0),
    "fancy index": lambda x: x[strict_device.asarray([1, 0])],
    "slices": lambda x: x[:, None, ::-1],
    "views": lambda x: x.T @ x.real,
}


@pytest.mark.parametrize("program", WAITS.values(), ids=WAITS)
def test_the_double_refuses_to_wait_for_the_device(x, program):
    with pytest.raises(HiddenSync):
        program(x)


@pytest.mark.parametrize("program", MIXES.values(), ids=MIXES)
def test_the_double_refuses_host_arrays(x, program):
    # NumPy itself refuses first where it is NumPy's function or operator: a TypeError too
    with pytest.raises(TypeError):
        program(x)


@pytest.mark.parametrize("program", PROMOTES.values(), ids=PROMOTES)
def test_the_double_refuses_float64_that_nobody_asked_for(x, program):
    with pytest.raises(Promotion):
        program(x)


@pytest.mark.parametrize("program", ALLOWED.values(), ids=ALLOWED)
def test_the_double_allows_what_a_device_does_well(x, program):
    assert program(x) is None or isinstance(program(x), strict_device.ndarray)


def test_reductions_give_arrays_without_dimensions(x):
    assert isinstance(x.sum(), strict_device.ndarray) and x.sum().shape == ()
    assert isinstance(x[0, 0], strict_device.ndarray)


def test_crossing_copies(x):
    host = np.ones(3, np.float32)
    device = strict_device.asarray(host)
    device += 1
    assert host.tolist() == [1, 1, 1] and device.get().tolist() == [2, 2, 2]
    strict_device.asnumpy(device)[:] = 0
    assert device.get().tolist() == [2, 2, 2]


def test_views_share_the_device_s_memory(x):
    x[0] += 1
    x.T[2] = 7
    assert x.get().tolist() == [[1, 2, 7], [3, 4, 7]]


def test_numpy_s_submodules_are_not_offered():
    with pytest.raises(AttributeError, match="on the host"):
        _ = strict_device.random


def test_attributes_that_cupy_lacks_are_missing(x):
    for name in ("ctypes", "setflags", "flat", "__array_interface__"):
        assert not hasattr(x, name)


def test_recording_lists_calls_with_their_keywords(x):
    with strict_device.recording() as calls:
        strict_device.exp(x)
        x.sum(-1, keepdims=True)
        strict_device.add.at(x, strict_device.asarray([0, 0]), 1)
    strict_device.exp(x)
    assert calls == {("exp", 1, ()), ("ndarray.sum", 1, ("keepdims",)), ("asarray", 1, ()), ("add.at", 3, ())}
