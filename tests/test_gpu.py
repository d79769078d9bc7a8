"""The op and model suites on a real device: CuPy against NumPy. Run with `pytest -m gpu`; skipped where there is none.

float64 on both sides: the same formulas, other orders of summation and other exp and tanh (1 or 2 ulp), so 1e-12 of
the largest element for one op, and 1e-10 through a model, where a rounding passes through a hundred ops.
"""

import numpy as np
import pytest
import test_t5
from strategies import CASES, make_case, normal
from test_strict_device import CONFIGS, train

from scratchgpt.backend import to_host
from scratchgpt.models.gpt import GPT, KVCache
from scratchgpt.ops import reference, table

pytestmark = pytest.mark.gpu


def on_device(cupy):
    return lambda x: cupy.asarray(x) if isinstance(x, np.ndarray) else x


def close(host, device, tolerance):
    device = to_host(device)
    assert device.dtype == host.dtype and device.shape == host.shape
    return np.abs(device - host).max(initial=0) <= tolerance * max(1, np.abs(host).max(initial=0))


# float32: each of a few dozen terms is off by half an ulp, 6e-8
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("on_any_device", ["reference", "flash"])
def test_op_on_the_device_equals_numpy(cupy, on_any_device, name, dtype, tolerance):
    case, ops = make_case(name).astype(dtype), table(on_any_device)
    out, gradients = case.run(ops)
    device_out, device_gradients = case.map(on_device(cupy)).run(ops, cupy.asarray(case.dout()))
    assert close(out, device_out, tolerance)
    assert all(close(a, b, tolerance) for a, b in zip(gradients, device_gradients, strict=True))


@pytest.mark.parametrize("key, start", [(0, 0), (2**64 - 1, 2**32 - 500), (12345, 2**40)])
def test_dropout_draws_the_same_mask_on_the_device(cupy, key, start):
    draws = reference.counter_hash(np, key, start, 1000)
    assert np.array_equal(draws, to_host(reference.counter_hash(cupy, key, start, 1000)))
    x = normal(np.random.default_rng(0), 10, 100)
    host, _ = reference.dropout_forward(x, 0.3, key, start)
    device, _ = reference.dropout_forward(cupy.asarray(x), 0.3, key, start)
    assert np.array_equal(host, to_host(device))


def test_adamw_step_and_global_norm_on_the_device_equal_numpy(cupy):
    param, grad, m, v = normal(np.random.default_rng(0), 4, 1001)
    v = v * v
    device = [cupy.asarray(a) for a in (param, grad, m, v)]
    settings = {"t": 3, "lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    assert close(reference.global_norm(grad), reference.global_norm(device[1]), 1e-12)
    reference.adamw_step(param, grad, m, v, **settings, grad_scale=0.5)
    reference.adamw_step(*device, **settings, grad_scale=cupy.asarray(0.5))
    assert all(close(a, b, 1e-12) for a, b in zip((param, grad, m, v), device, strict=True))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_three_training_steps_on_the_device_equal_numpy(cupy, config):
    _, expected = train(np, config, "float64")
    _, got = train(cupy, config, "float64")
    assert all(close(np.asarray(a), b, 1e-10) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_on_the_device_equal_numpy_with_and_without_a_cache(cupy, config):
    host, device = GPT(config, dtype="float64"), GPT(config, dtype="float64", device="cuda")
    assert device.xp is cupy
    ids = np.array([[1, 2, 3, 4, 5], [7, 8, 9, 10, 11]])
    logits = host.logits({"input_ids": ids})
    assert close(logits, device.logits({"input_ids": ids}), 1e-10)
    cache = KVCache(device, batch_size=2)
    device.next_logits(ids[:, :3], cache)
    assert close(logits[:, -1], device.next_logits(ids[:, 3:], cache), 1e-10)


@pytest.mark.parametrize("config", test_t5.CONFIGS.values(), ids=test_t5.CONFIGS)
def test_three_training_steps_of_a_t5_on_the_device_equal_numpy(cupy, config):
    expected, got = (test_t5.train(xp, config, "float64") for xp in (np, cupy))
    assert all(close(np.asarray(a), b, 1e-10) for a, b in zip(expected, got, strict=True))


def test_training_in_float32_follows_float64_on_the_device(cupy):
    config = CONFIGS["pre-norm, tied, tanh, dropout"]
    _, exact = train(cupy, config, "float64")
    _, single = train(cupy, config, "float32")
    # three losses: float32 carries 7 digits, and three steps at this learning rate amplify a rounding tenfold
    for a, b in zip(exact[0:6:2], single[0:6:2], strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-4)
