"""Whole models against transformers: the same weights, in float64, must give the same numbers."""

import os
from dataclasses import replace

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.check.derivatives import relative_error
from scratchgpt.models.gpt import GPT
from scratchgpt.ops import table
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.tokenizers import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer

V, P, C, L, H = 61, 13, 30, 3, 5  # vocabulary, positions, width, layers, heads: no two alike
SAME = 1e-9  # float64 rounds at 1e-16; three layers of sums over tens of terms stay below 1e-13
CHECKPOINT = 1e-4  # float32 rounds at 6e-8; logits of order 1 to 10 after three layers stay below 1e-5

FAMILIES = {
    "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel, {}),
    "gpt2, exact gelu, narrow": (
        transformers.GPT2Config, transformers.GPT2LMHeadModel,
        {"activation_function": "gelu", "n_inner": 47, "layer_norm_epsilon": 1e-3},
    ),
    "gpt2, untied": (transformers.GPT2Config, transformers.GPT2LMHeadModel, {"tie_word_embeddings": False}),
    "openai-gpt": (transformers.OpenAIGPTConfig, transformers.OpenAIGPTLMHeadModel, {}),
    "openai-gpt, untied": (
        transformers.OpenAIGPTConfig, transformers.OpenAIGPTLMHeadModel, {"tie_word_embeddings": False},
    ),
}  # fmt: skip
TABLES = ("reference", "fast_cpu")


def make_peer(family, dtype=torch.float64, seed=0):
    """A transformers model with every parameter random: zero biases and unit weights would hide mistakes."""
    config_class, model_class, options = FAMILIES[family]
    config = config_class(
        vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager", **options,
    )  # fmt: skip
    model = model_class(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            is_norm_weight = "ln_" in name and name.endswith("weight")
            parameter.copy_(1 + 0.3 * values if is_norm_weight else 0.3 * values)
    return model


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=FAMILIES)
def peer_and_directory(request, tmp_path):
    peer = make_peer(request.param)
    peer.save_pretrained(tmp_path)
    return peer, tmp_path


def make_batch(kind, seed=1, B=4, T=P):
    """A batch as Hugging Face writes it. Where padding comes first, the first real token is no target: it would be
    predicted by a position that sees nothing, which each library fills in its own way."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, V, (B, T))
    batch = {"input_ids": ids, "labels": ids.copy()}
    lengths = np.array([T, T - 4, 3, T - 1])[:B, None]
    columns = np.arange(T)[None, :]
    if kind == "right padding":
        batch["attention_mask"] = (columns < lengths).astype(int)
    elif kind == "left padding":
        batch["attention_mask"] = (columns >= T - lengths).astype(int)
        batch["labels"][columns == T - lengths] = -100
    elif kind == "ignored labels":
        batch["labels"][rng.random((B, T)) < 0.4] = -100
    if "attention_mask" in batch:
        batch["labels"][batch["attention_mask"] == 0] = -100
    return batch


KINDS = ("plain", "ignored labels", "right padding", "left padding")


def peer_loss(peer, batch):
    """(loss, logits) in the model's own precision; transformers' own loss would round the logits to float32."""
    batch = {name: torch.tensor(array) for name, array in batch.items()}
    logits = peer(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, V), batch["labels"][:, 1:].reshape(-1))
    return loss, logits.detach().numpy()


def rows_that_see_something(batch):
    mask = batch.get("attention_mask", np.ones_like(batch["input_ids"]))
    return mask.cumsum(1) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ops", TABLES)
def test_logits_loss_and_every_gradient_equal_transformers(peer_and_directory, kind, ops):
    peer, directory = peer_and_directory
    model = interop.load(directory)
    model.ops = table(ops)
    batch = make_batch(kind)
    loss, logits = peer_loss(peer, batch)
    loss.backward()
    ours, cache = model.loss(batch)
    model.backward(cache)
    rows = rows_that_see_something(batch)
    assert model.params.dtype == np.float64
    assert relative_error(model.logits(batch)[rows], logits[rows]) < SAME
    assert abs(float(ours) - loss.item()) < SAME * loss.item()
    gradients = interop.tensors(model, grad=True)
    expected = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    assert gradients.keys() == expected.keys()
    errors = {name: relative_error(gradients[name], expected[name]) for name in expected}
    assert max(errors.values()) < SAME, errors


def test_a_context_and_one_more_token_gives_the_loss_of_the_shifted_labels(peer_and_directory):
    peer, directory = peer_and_directory
    model = interop.load(directory)
    ids = np.random.default_rng(3).integers(0, V, (2, P + 1))
    logits = peer(input_ids=torch.tensor(ids[:, :-1])).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(ids[:, 1:]).reshape(-1)).item()
    assert abs(float(model.loss({"input_ids": ids})[0]) - loss) < SAME * loss


def test_our_loss_is_the_one_transformers_reports(peer_and_directory):
    peer, directory = peer_and_directory
    batch = make_batch("right padding")
    theirs = peer(**{name: torch.tensor(array) for name, array in batch.items()}).loss.item()
    ours = float(interop.load(directory).loss(batch)[0])
    assert abs(ours - theirs) < 1e-6 * theirs  # theirs is computed in float32


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_ten_training_steps_equal_torch_adamw(family, ops, tmp_path):
    peer = make_peer(family)
    peer.save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    model.ops = table(ops)
    parameters = list(peer.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    ours = AdamW(model.params, model.ops)
    for step in range(10):
        lr = cosine_schedule(step, lr=1e-3, warmup_steps=3, steps=10)
        batch = make_batch(KINDS[step % len(KINDS)], seed=step)
        theirs.zero_grad()
        for group in theirs.param_groups:
            group["lr"] = lr
        peer_loss(peer, batch)[0].backward()
        max_norm = (1.0, 1e6)[step % 2]  # the norm lies between: clipped, not
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
        theirs.step()
        model.params.grad.fill(0)
        _, cache = model.loss(batch)
        model.backward(cache)
        assert abs(float(ours.step(lr, max_norm)) - norm) < SAME * norm
        assert 1.0 < norm < 1e6
    weights = interop.tensors(model)
    for name, parameter in peer.named_parameters():
        # the steps moved the weights by about 1e-2; float64 rounding, divided by sqrt(v) + 1e-8, stays below 1e-11
        assert np.max(np.abs(weights[name] - parameter.detach().numpy())) < 1e-10, name


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_what_we_save(family, tmp_path):
    config = interop.read_config(saved_config(family, tmp_path / "theirs"))[1]
    model = GPT(config, seed=5)
    interop.save(model, tmp_path / "ours")
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(peer) is FAMILIES[family][1]
    assert peer.dtype == torch.float32
    ids = make_batch("plain")["input_ids"]
    logits = peer(torch.tensor(ids)).logits.detach().numpy()
    assert np.max(np.abs(model.logits({"input_ids": ids}) - logits)) < CHECKPOINT


@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_auto_tokenizer_reads_the_directory_with_equal_ids(family, tmp_path):
    tokenizer = BPETokenizer.train(TEXT, vocab_size=300)
    config = interop.read_config(saved_config(family, tmp_path / "theirs"))[1]
    interop.save(GPT(replace(config, vocab_size=300)), tmp_path / "ours", tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert len(theirs) == 300
    assert theirs.eos_token_id == theirs.bos_token_id == 299
    for text in (TEXT, "", " ", "\n\n\t  don't'LL", "e\u0301 \u6f22\u5b57 \U0001f600", "a<|endoftext|> b"):
        ids = tokenizer.encode(text, allowed_special="all")
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text
    theirs.save_pretrained(tmp_path / "again")
    assert interop.load_tokenizer(tmp_path / "again").digest() == tokenizer.digest()


TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak, we hear and proceed.\n" * 2


def saved_config(family, directory):
    config_class, _, options = FAMILIES[family]
    config_class(vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H, **options).save_pretrained(directory)
    return directory / "config.json"


@pytest.mark.parametrize("family", ["gpt2, untied", "openai-gpt"])
def test_a_directory_goes_to_transformers_and_back_unchanged(family, tmp_path):
    model = GPT(interop.read_config(saved_config(family, tmp_path / "config"))[1], seed=6)
    interop.save(model, tmp_path / "ours")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = interop.load(tmp_path / "theirs")
    assert back.config == model.config
    assert np.array_equal(back.params.data, model.params.data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_half_precision_checkpoints_load_as_the_float32_numbers_they_hold(family, dtype, tmp_path):
    peer = make_peer(family, dtype)
    peer.save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    assert model.params.dtype == np.float32
    for name, array in interop.tensors(model).items():
        assert np.array_equal(array, peer.state_dict()[name].float().numpy()), name


def test_sharded_checkpoints_load(tmp_path):
    peer = make_peer("gpt2, untied", torch.float32)
    peer.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    loaded = interop.tensors(interop.load(tmp_path))
    for name, parameter in peer.named_parameters():
        assert np.array_equal(loaded[name], parameter.detach().numpy()), name


@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_a_base_model_without_its_head_loads(family, tmp_path):
    peer = make_peer(family, torch.float32)
    peer.transformer.save_pretrained(tmp_path)  # its keys lack "transformer."
    ids = make_batch("plain")["input_ids"]
    logits = peer(torch.tensor(ids)).logits.detach().numpy()
    assert np.max(np.abs(interop.load(tmp_path).logits({"input_ids": ids}) - logits)) < 10 * CHECKPOINT
