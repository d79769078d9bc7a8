"""Llama, Mixtral and DeepSeek-V3 against transformers: the same weights, in float64, must give the same numbers.

transformers computes some things in float32 whatever the model's type is: the mean of the squares in RMSNorm, the
angles of rotary positions, the router's scores, and the loss. Here the same is put in their place without the cast.
Eager attention casts the softmax, torch's scaled_dot_product_attention does not: that one is used.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.check.derivatives import relative_error
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import KVCache
from scratchgpt.models.llama import Llama
from scratchgpt.ops import table

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")
llama = pytest.importorskip("transformers.models.llama.modeling_llama")
mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
deepseek = pytest.importorskip("transformers.models.deepseek_v3.modeling_deepseek_v3")

pytestmark = pytest.mark.peer

V, T, B = 61, 9, 3
SAME = 1e-9  # float64 rounds at 1e-16; three layers of sums over tens of terms stay below 1e-12
CHECKPOINT = 1e-4  # float32 rounds at 6e-8; logits of order 1 to 10 after three layers stay below 1e-5

SHAPE = {"vocab_size": V, "hidden_size": 24, "intermediate_size": 31, "num_hidden_layers": 3, "num_attention_heads": 4,
         "max_position_embeddings": 16}  # fmt: skip
LATENT = {"num_key_value_heads": 4, "q_lora_rank": 7, "kv_lora_rank": 5, "qk_nope_head_dim": 3, "qk_rope_head_dim": 6,
          "v_head_dim": 4, "n_routed_experts": 6, "n_group": 3, "topk_group": 2, "num_experts_per_tok": 3,
          "moe_intermediate_size": 9, "first_k_dense_replace": 1}  # fmt: skip
LLAMA = ("Llama", {"num_key_value_heads": 4})
FAMILIES = {
    "llama": LLAMA,
    "llama, shared keys, tied": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "llama, one key, wide heads": ("Llama", {
        "num_key_value_heads": 1, "head_dim": 10, "rms_norm_eps": 1e-3, "hidden_act": "gelu_pytorch_tanh",
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
    }),
    "mixtral": ("Mixtral", {"num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "mixtral, three of five, tied": ("Mixtral", {
        "num_key_value_heads": 4, "num_local_experts": 5, "num_experts_per_tok": 3, "tie_word_embeddings": True,
    }),
    "deepseek": ("DeepseekV3", LATENT),
    "deepseek, queries of x, pairs apart, two shared": ("DeepseekV3", LATENT | {
        "q_lora_rank": None, "rope_interleave": False, "n_shared_experts": 2, "first_k_dense_replace": 0,
        "norm_topk_prob": False, "n_group": 1, "topk_group": 1,
    }),
}  # fmt: skip
HOW = {"attn_implementation": "sdpa", "experts_implementation": "eager"}  # grouped products want round widths
MODULES = {"Llama": llama, "Mixtral": mixtral, "DeepseekV3": deepseek}
TABLES = ("reference", "fast_cpu")


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norm(self, hidden_states):
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def angles(self, x, position_ids):
    width = 2 * len(self.inv_freq)
    base = self.config.rope_parameters["rope_theta"]
    speeds = base ** -(torch.arange(0, width, 2, dtype=x.dtype) / width)
    turned = position_ids[..., None].to(x.dtype) * torch.cat((speeds, speeds))
    return turned.cos(), turned.sin()


def route(self, hidden_states):
    logits = hidden_states.reshape(-1, self.hidden_dim) @ self.weight.T
    weights, chosen = torch.topk(torch.softmax(logits, -1), self.top_k, dim=-1)
    return logits, weights / weights.sum(-1, keepdim=True), chosen


def route_by_group(self, hidden_states):
    logits = hidden_states.reshape(-1, self.hidden_dim) @ self.weight.T
    scores = logits.sigmoid()
    by_group = (scores + self.e_score_correction_bias).reshape(len(scores), self.num_group, -1)
    best = by_group.topk(2, dim=-1)[0].sum(-1).topk(self.topk_group, dim=-1)[1]
    allowed = torch.zeros(by_group.shape[:2], dtype=bool).scatter(1, best, True)[..., None]
    chosen = by_group.masked_fill(~allowed, -torch.inf).reshape(scores.shape).topk(self.top_k, dim=-1)[1]
    weights = scores.gather(1, chosen)
    if self.norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True)
    return logits, weights * self.routed_scaling_factor, chosen


@pytest.fixture
def no_casts(monkeypatch):
    monkeypatch.setattr(deepseek.DeepseekV3TopkRouter, "forward", route_by_group)
    monkeypatch.setattr(mixtral.MixtralTopKRouter, "forward", route)
    for family, module in MODULES.items():
        monkeypatch.setattr(getattr(module, f"{family}RMSNorm"), "forward", norm)
        monkeypatch.setattr(getattr(module, f"{family}RotaryEmbedding"), "forward", angles)


def make_peer(name, dtype=torch.float64, seed=0):
    """A transformers model with every weight random."""
    family, shape = FAMILIES[name]
    config = getattr(transformers, f"{family}Config")(**SHAPE | shape, **HOW)
    peer = getattr(transformers, f"{family}ForCausalLM")(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        biases = [(key, buffer) for key, buffer in peer.named_buffers() if "correction_bias" in key]
        for key, parameter in (*peer.named_parameters(), *biases):
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + 0.3 * values if "norm" in key else 0.3 * values)
    return peer


@pytest.fixture(params=FAMILIES)
def peer_and_directory(request, tmp_path, no_casts):
    peer = make_peer(request.param)
    peer.save_pretrained(tmp_path)
    return peer, tmp_path


def make_batch(kind, seed=1):
    rng = np.random.default_rng(seed)
    batch = {"input_ids": rng.integers(0, V, (B, T))}
    batch["labels"] = batch["input_ids"].copy()
    if kind == "ignored labels":
        batch["labels"][rng.random((B, T)) < 0.4] = -100
    elif kind == "right padding":
        batch["attention_mask"] = (np.arange(T) < np.array([T, T - 4, 3])[:, None]).astype(int)
        batch["labels"][batch["attention_mask"] == 0] = -100
    return batch


def run_peer(peer, batch):
    """(loss, logits), the loss without the cast of the logits."""
    batch = {name: torch.tensor(array) for name, array in batch.items()}
    labels = batch.pop("labels")
    logits = peer(**batch, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1)), logits


EXPERTS = {"Mixtral": ("block_sparse_moe", "w1", "w3", "w2")}  # the mixture, and the maps of an expert


def as_stored(key, array, family):
    """(key, array) of each tensor that a directory holds of a parameter: in memory all experts' weights are one."""
    mixture, gate, up, down = EXPERTS.get(family, ("mlp", "gate_proj", "up_proj", "down_proj"))
    key = key.replace("mlp.gate.", f"{mixture}.gate.")
    at = key.rpartition(".")[0].replace("mlp.experts", f"{mixture}.experts")
    for e, matrix in enumerate(array if "mlp.experts" in key else ()):
        halves = zip((gate, up), np.split(matrix, 2)) if key.endswith("gate_up_proj") else [(down, matrix)]
        yield from ((f"{at}.{e}.{name}.weight", half) for name, half in halves)
    if "mlp.experts" not in key:
        yield key, array


@pytest.mark.parametrize("kind", ["plain", "ignored labels", "right padding"])
@pytest.mark.parametrize("ops", TABLES)
def test_logits_loss_and_every_gradient_equal_transformers(peer_and_directory, kind, ops):
    peer, directory = peer_and_directory
    model = interop.load(directory, dtype="float64")
    model.ops = table(ops)
    batch = make_batch(kind)
    loss, logits = run_peer(peer, batch)
    loss.backward()
    ours, cache = model.loss(batch, balance=False)
    model.backward(cache)
    real = batch.get("attention_mask", np.ones((B, T))) == 1
    assert relative_error(model.logits(batch)[real], logits.detach().numpy()[real]) < SAME
    assert abs(float(ours) - loss.item()) < SAME * loss.item()
    gradients = interop.tensors(model, grad=True)
    family = type(peer).__name__.removesuffix("ForCausalLM")
    expected = {
        name: grad for key, p in peer.named_parameters() for name, grad in as_stored(key, p.grad.numpy(), family)
    }
    for name in [name for name in gradients if "correction_bias" in name]:  # moved, not learned
        assert not gradients.pop(name).any()
    assert gradients.keys() == expected.keys()
    errors = {name: relative_error(gradients[name], expected[name]) for name in expected}
    assert max(errors.values()) < SAME, errors


def test_tokens_one_by_one_with_a_cache_give_the_logits_of_all_at_once(peer_and_directory):
    peer, directory = peer_and_directory
    model = interop.load(directory, dtype="float64")
    batch = make_batch("plain")
    expected = run_peer(peer, batch)[1].detach().numpy()
    ids, cache = batch["input_ids"], KVCache(model, B)
    for end, start in ((4, 0), *((t + 1, t) for t in range(4, T))):
        assert relative_error(model.next_logits(ids[:, start:end], cache), expected[:, end - 1]) < SAME


@pytest.mark.parametrize("name", FAMILIES)
def test_a_directory_goes_to_transformers_and_back_unchanged(name, tmp_path):
    make_peer(name, torch.float32).save_pretrained(tmp_path / "first")
    config = interop.load(tmp_path / "first").config
    model = Llama(config, seed=6)
    interop.save(model, tmp_path / "ours")
    peer, told = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True, **HOW)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    batch = make_batch("plain")
    theirs = run_peer(peer.eval(), batch)[1].detach().numpy()
    assert np.max(np.abs(model.logits(batch) - theirs)) < CHECKPOINT
    peer.save_pretrained(tmp_path / "theirs")
    for directory in ("ours", "theirs"):
        back = interop.load(tmp_path / directory)
        assert back.config == config
        assert np.array_equal(back.params.data, model.params.data)


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


def test_keys_of_older_versions_are_read(tmp_path):
    """rope_theta outside of rope_parameters, and the angles stored beside the weights."""
    make_peer("llama").save_pretrained(tmp_path)
    change_config(tmp_path, rope_parameters=None, rope_theta=500.0, rope_scaling=None)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.load_file(path) | {"model.layers.2.self_attn.rotary_emb.inv_freq": torch.ones(3)}
    safetensors.save_file(tensors, path)
    assert interop.load(tmp_path).config.rotary_base == 500.0


@pytest.mark.parametrize("changes, named", [
    ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}}, "rope_type is 'llama3'"),
    ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
    ({"rope_parameters": None, "rope_scaling": "linear"}, "rope_type is 'linear'"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"num_key_value_heads": 3}, "n_kv_head is 3"),
    ({"num_key_value_heads": 2}, "k_proj"),
    ({"hidden_act": "tanh"}, "hidden_act is 'tanh'"),
    ({"sliding_window": 8}, "sliding_window is 8"),
    ({"num_experts_per_tok": 5}, "top_k is 5"),
    ({"num_local_experts": 3}, "experts.3.w1"),
])  # fmt: skip
def test_what_we_do_not_compute_is_refused_in_one_line(changes, named, tmp_path):
    make_peer("mixtral" if {"sliding_window", "num_experts_per_tok", "num_local_experts"} & changes.keys() else "llama"
              ).save_pretrained(tmp_path)  # fmt: skip
    change_config(tmp_path, **changes)
    with pytest.raises(InputError, match=named) as told:
        interop.load(tmp_path)
    assert "\n" not in str(told.value)
