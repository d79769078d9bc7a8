"""word2vec: its gradients, its first loss, what its loss pulls the products to, the device double, files, refusals."""

import json
import math

import numpy as np
import pytest
import strict_device
from safetensors.numpy import save_file

import scratchgpt
from scratchgpt import interop
from scratchgpt.check import gradient
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig, count_parameters
from scratchgpt.ops import table
from scratchgpt.optim import AdamW
from scratchgpt.tokenizers import WordTokenizer

V, C, B, K = 11, 5, 7, 3
TINY = Word2VecConfig(vocab_size=V, n_embd=C)
ROUNDING = 1e-12  # two orders of the same float64 sums of tens of terms differ by about 1e-15 of the largest


def random_model(dtype="float64", ops="reference", seed=0, xp=None):
    """Both tables random: at the real start the context vectors are 0, and half of the gradient with them."""
    model = Word2Vec(TINY, seed=None, dtype=dtype, ops=table(ops), xp=xp)
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        model.params[name][...] = model.xp.asarray(rng.standard_normal((V, C)).astype(dtype))
    return model


def make_batch(seed=1, rows=B):
    """Centres that repeat, negatives that repeat in a row, and one that is the context itself."""
    rng = np.random.default_rng(seed)
    ids, candidates = rng.integers(0, 4, rows), rng.integers(0, V, (rows, 1 + K))
    candidates[0, 1:] = candidates[0, 0], 2, 2
    return {"input_ids": ids, "context_ids": candidates}


def loss_and_grad(model, batch, **options):
    model.params.grad.fill(0)
    loss, cache = model.loss(batch, **options)
    model.backward(cache)
    return float(loss), model.params.grad.copy()


def assert_same(a, b):
    assert abs(a[0] - b[0]) <= ROUNDING * abs(b[0])
    assert relative_error(a[1], b[1]) <= ROUNDING


# the derivative


def test_backward_is_the_derivative_of_the_loss():
    real, analytic = random_model(), random_model("complex128")

    def forward(flat):
        model = analytic if np.iscomplexobj(flat) else real
        model.params.data[:] = flat
        return model.loss(make_batch())

    def backward(dloss, cache):
        real.params.grad.fill(0)
        real.backward(cache, scale=float(dloss))
        return real.params.grad.copy()

    report = gradient(forward, backward, real.params.data.copy())
    assert report.ok, f"\n{report}"
    assert {row.method for row in report} == {"complex step"}


def test_loss_and_gradient_are_the_paper_s_formula_pair_by_pair():
    model, batch = random_model(), make_batch()
    centre, context = model.params["centre"], model.params["context"]
    loss, g = 0.0, {name: np.zeros((V, C)) for name in ("centre", "context")}
    for w, candidates in zip(batch["input_ids"], batch["context_ids"]):
        for k, c in enumerate(candidates):
            sign = 1 if k == 0 else -1
            probability = 1 / (1 + math.exp(-sign * (centre[w] @ context[c])))
            loss -= math.log(probability) / B
            push = -sign * (1 - probability) / B  # d loss / d product
            g["centre"][w] += push * context[c]
            g["context"][c] += push * centre[w]
    expected = np.concatenate([g[name].ravel() for name in model.params.names])
    assert_same(loss_and_grad(model, batch), (loss, expected))


def test_gradients_add_to_what_is_there():
    model = random_model()
    _, expected = loss_and_grad(model, make_batch())
    for _ in range(2):
        model.backward(model.loss(make_batch())[1], scale=0.5)
    assert relative_error(model.params.grad, 2 * expected) <= ROUNDING


def test_words_that_are_not_in_the_batch_have_no_gradient():
    model, batch = random_model(), make_batch()
    loss_and_grad(model, batch)
    for name, used in (("centre", batch["input_ids"]), ("context", batch["context_ids"])):
        moved = np.abs(model.params.grad_of(name)).max(1) > 0
        assert set(np.flatnonzero(moved)) == set(used.ravel())


def test_fast_table_gives_what_reference_gives():
    rng = np.random.default_rng(3)
    many = {"input_ids": rng.integers(0, V, 1500), "context_ids": rng.integers(0, V, (1500, 1 + K))}
    reference, fast = (random_model(ops=ops) for ops in ("reference", "fast_cpu"))
    for batch in (make_batch(), many):  # of many rows the gradient is a sum of several products
        assert_same(loss_and_grad(fast, batch), loss_and_grad(reference, batch))


# the start, and where it goes


@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_loss_is_a_coin_tossed_for_each_candidate(seed):
    model = Word2Vec(TINY, seed=seed)
    loss, _ = model.loss(make_batch())
    assert float(loss) == pytest.approx((1 + K) * math.log(2), rel=1e-6)  # float32
    spread = Word2Vec(Word2VecConfig(400, 50), seed=seed).params["centre"].std()
    assert spread == pytest.approx(1 / (50 * math.sqrt(12)), rel=0.03)  # 20,000 draws: 0.5% of standard error
    assert not model.params["context"].any()


def test_with_room_for_it_the_products_become_pmi_minus_log_k():
    """Levy & Goldberg 2014, eq. 12, with q for p(c): a batch where each pair and each negative is as frequent as its
    probability says."""
    counts = np.random.default_rng(0).integers(1, 9, (4, 4))
    w, c = (np.repeat(side.ravel(), counts.ravel()) for side in np.indices(counts.shape))
    negatives = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    batch = {"input_ids": w, "context_ids": np.column_stack([c, np.tile(negatives, (len(w), 1))])}
    model = Word2Vec(Word2VecConfig(4, 4), seed=0, dtype="float64", ops=table("reference"))
    adam = AdamW(model.params, model.ops, weight_decay=0.0)
    for step in range(1500):
        loss_and_grad(model, batch)
        adam.step(0.03 if step < 1000 else 0.003)
    p, q = counts / counts.sum(), np.bincount(negatives) / 10
    pmi = np.log(p / (p.sum(1)[:, None] * q))
    products = model.params["centre"] @ model.params["context"].T
    assert np.abs(products - (pmi - math.log(10))).max() < 1e-2  # Adam's last steps are about a third of this


# sums, devices, sizes


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_micro_batches_add_up_to_the_whole_batch(threads):
    model, batch = random_model(), make_batch()
    shards = Shards(model, threads=threads)
    parts = [{name: array[rows] for name, array in batch.items()} for rows in (slice(0, 2), slice(2, B))]
    for batches in ([batch], parts):
        whole = loss_and_grad(model, batch)
        assert_same((float(shards.loss_and_grad(batches)), model.params.grad), whole)


def train(xp, dtype):
    model = Word2Vec(TINY, seed=0, dtype=dtype, ops=table("reference"), xp=xp)
    optimizer, shards, left = AdamW(model.params, model.ops, weight_decay=0.0), Shards(model, threads=1), []
    for step in range(3):
        left.append(shards.loss_and_grad([make_batch(step), make_batch(step + 9, rows=4)], seed=1, step=step))
        left.append(optimizer.step(1e-2, max_norm=1.0))
    return [*left, model.logits(make_batch()), model.params.data, optimizer.m, optimizer.v]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_three_training_steps_on_a_strict_device_give_the_bits_of_numpy(dtype):
    expected, got = train(np, dtype), train(strict_device, dtype)
    assert isinstance(got[-1], strict_device.ndarray)
    for a, b in zip(expected, got, strict=True):
        assert np.asarray(a).dtype == b.dtype == dtype and np.array_equal(a, b.get())


def test_parameters_are_two_tables():
    assert count_parameters(Word2VecConfig(1000, 30)) == {"centre": 30_000, "context": 30_000}
    assert sum(count_parameters(TINY).values()) == random_model().params.size


def test_activation_bytes_bound_what_a_pair_keeps():
    model = Word2Vec(Word2VecConfig(50, 64))
    _, ((centre, context, dot), loss) = model.loss(make_batch() | {"context_ids": np.zeros((B, 21), int)})
    kept = {
        id(array): array.nbytes for cache in (centre, context, dot, loss) for array in cache if hasattr(array, "nbytes")
    }
    assert sum(kept.values()) <= B * model.activation_bytes(1)


# files


def test_a_directory_comes_back_with_its_words(tmp_path):
    model, tokenizer = random_model("float32"), WordTokenizer([f"word{chr(97 + i)}" for i in range(V)])
    interop.save(model, tmp_path, tokenizer)
    again = scratchgpt.load(tmp_path)
    assert isinstance(again, Word2Vec) and again.config == TINY
    assert np.array_equal(again.params.data, model.params.data)
    assert interop.load_tokenizer(tmp_path).words == tokenizer.words
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "model_type": "word2vec", "architectures": ["Word2Vec"], "vocab_size": V, "hidden_size": C, "dtype": "float32",
    }  # fmt: skip
    assert interop.tensors(again).keys() == {"centre", "context"}


def test_a_directory_that_does_not_fit_itself_is_refused(tmp_path):
    interop.save(random_model("float32"), tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace(f'"hidden_size": {C}', '"hidden_size": 6'))
    with pytest.raises(InputError, match="written for n_embd 5"):
        scratchgpt.load(tmp_path)
    save_file({"centre": np.zeros((V, 6), "float32")}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="missing: context"):
        scratchgpt.load(tmp_path)


BAD = {
    "no context_ids": ({"context_ids": None}, "no context_ids"),
    "a matrix of centres": ({"input_ids": [[1], [2]]}, "expected (B,)"),
    "no centre": ({"input_ids": []}, "expected (B,)"),
    "a row too few": ({"context_ids": [[1, 2]]}, "expected (2, 1 + K)"),
    "no negatives": ({"context_ids": [[1], [2]]}, "at least one"),
    "a centre out of range": ({"input_ids": [1, V]}, "input_ids holds 11"),
    "a candidate out of range": ({"context_ids": [[1, 2], [-1, 2]]}, "context_ids holds -1"),
    "a float": ({"input_ids": [1.0, 2.0]}, "expected integers"),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD)
def test_a_batch_that_cannot_be_used_is_refused(change, says):
    with pytest.raises(InputError) as refused:
        random_model().loss({"input_ids": [1, 2], "context_ids": [[1, 2], [3, 4]]} | change)
    assert says in str(refused.value)


@pytest.mark.parametrize("name", ["vocab_size", "n_embd"])
def test_a_size_below_one_is_refused(name):
    with pytest.raises(InputError, match=name):
        Word2VecConfig(**{name: 0})
