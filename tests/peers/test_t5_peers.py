"""T5 against transformers: the same weights, in float64, must give the same numbers.

transformers' T5LayerNorm takes the mean of the squares in float32 whatever the model's type is; here it is replaced by
the same norm without that cast. Everything else it computes in float64.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.check.derivatives import relative_error
from scratchgpt.models.t5 import PRESETS, T5, DecoderCache, T5Config, count_parameters
from scratchgpt.ops import table
from scratchgpt.ops.reference import distance_buckets
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.sampling import generate_output
from scratchgpt.tokenizers import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
t5 = pytest.importorskip("transformers.models.t5.modeling_t5")

pytestmark = pytest.mark.peer

V, S, T = 61, 13, 9  # vocabulary, tokens of the input and of the output
SAME = 1e-9  # float64 rounds at 1e-16; five layers of sums over tens of terms stay below 1e-12
CHECKPOINT = 1e-4  # float32 rounds at 6e-8; logits of order 1 to 10 after five layers stay below 1e-5

SHAPE = {"vocab_size": V, "d_model": 30, "d_kv": 7, "d_ff": 47, "num_layers": 2, "num_decoder_layers": 3,
         "num_heads": 5, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10,
         "decoder_start_token_id": 4, "pad_token_id": 3, "eos_token_id": 5}  # fmt: skip
FAMILIES = {
    "1.0": {},
    "1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "1.0, exact gelu": {"feed_forward_proj": "gelu", "layer_norm_epsilon": 1e-3, "num_decoder_layers": 1},
    "gated silu, tied": {"feed_forward_proj": "gated-silu"},
    "gated exact gelu, untied": {"feed_forward_proj": "gated-gelu_python", "tie_word_embeddings": False},
}
TABLES = ("reference", "fast_cpu")


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def norm_without_a_cast(monkeypatch):
    def forward(self, hidden_states):
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))

    monkeypatch.setattr(t5.T5LayerNorm, "forward", forward)


def make_config(family):
    return transformers.T5Config(**SHAPE | FAMILIES[family], attn_implementation="eager")


def make_peer(family, dtype=torch.float64, seed=0):
    """A transformers model with every parameter random. It ties every head to the embedding until it loads a file where
    the two differ, so a head of its own is put there by hand."""
    peer = transformers.T5ForConditionalGeneration(make_config(family))
    if not peer.config.scale_decoder_outputs:
        peer.lm_head.weight = torch.nn.Parameter(peer.lm_head.weight.detach().clone())
    peer = peer.to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + 0.3 * values if "layer_norm" in name else 0.3 * values)
    return peer


@pytest.fixture(params=FAMILIES)
def peer_and_directory(request, tmp_path):
    peer = make_peer(request.param)
    peer.save_pretrained(tmp_path)
    return peer, tmp_path


def make_batch(kind, seed=1, B=4):
    """A batch as Hugging Face writes it."""
    rng = np.random.default_rng(seed)
    batch = {"input_ids": rng.integers(0, V, (B, S)), "labels": rng.integers(0, V, (B, T))}
    lengths, columns = np.array([S, S - 4, 3, S - 1])[:B, None], np.arange(S)
    if kind == "right padding":
        batch["attention_mask"] = (columns < lengths).astype(int)
        batch["labels"][np.arange(T) >= np.array([T, 2, T - 3, 1])[:, None]] = -100
    elif kind == "left padding":
        batch["attention_mask"] = (columns >= S - lengths).astype(int)
    elif kind == "ignored labels":
        batch["labels"][rng.random((B, T)) < 0.4] = -100
    return batch


KINDS = ("plain", "ignored labels", "right padding", "left padding")


def run_peer(peer, batch):
    return peer(**{name: torch.tensor(array) for name, array in batch.items()})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ops", TABLES)
def test_logits_loss_and_every_gradient_equal_transformers(peer_and_directory, kind, ops):
    peer, directory = peer_and_directory
    model = interop.load(directory)
    model.ops = table(ops)
    batch = make_batch(kind)
    theirs = run_peer(peer, batch)
    theirs.loss.backward()
    ours, cache = model.loss(batch)
    model.backward(cache)
    assert model.params.dtype == np.float64
    assert relative_error(model.logits(batch), theirs.logits.detach().numpy()) < SAME
    assert abs(float(ours) - theirs.loss.item()) < SAME * theirs.loss.item()
    gradients = interop.tensors(model, grad=True)
    expected = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    assert gradients.keys() == expected.keys()
    errors = {name: relative_error(gradients[name], expected[name]) for name in expected}
    assert max(errors.values()) < SAME, errors


def test_the_encoder_s_output_equals_transformers(peer_and_directory):
    peer, directory = peer_and_directory
    batch = make_batch("right padding")
    batch.pop("labels")
    theirs = peer.encoder(**{name: torch.tensor(array) for name, array in batch.items()}).last_hidden_state
    real = batch["attention_mask"] == 1
    assert relative_error(interop.load(directory).encode(batch)[real], theirs.detach().numpy()[real]) < SAME


def test_a_greedy_output_equals_transformers(peer_and_directory):
    peer, directory = peer_and_directory
    batch = make_batch("right padding")
    batch.pop("labels")
    inputs = {name: torch.tensor(array) for name, array in batch.items()}
    # without its cache, which has places for as many layers as the encoder has, not the decoder
    settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": 12, "eos_token_id": None, "use_cache": False}
    theirs = peer.generate(**inputs, **settings)[:, 1:]
    model = interop.load(directory)
    cache, ids = DecoderCache(model, batch), np.full((4, 1), SHAPE["decoder_start_token_id"])
    for expected in theirs.T.numpy():
        ids = model.next_logits(ids, cache).argmax(-1)[:, None]
        assert np.array_equal(ids[:, 0], expected)


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("family", ["1.0", "1.1"])
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
        run_peer(peer, batch).loss.backward()
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
        # the steps moved the weights by about 1e-2; float64 rounding, divided by sqrt(v) + 1e-8, stays below 1e-10
        assert np.max(np.abs(weights[name] - parameter.detach().numpy())) < 1e-9, name


def test_buckets_of_distances_equal_transformers():
    """It takes logarithms in float32, we in float64: at whole powers they could part."""
    distance = np.arange(-3000, 3001)
    for buckets, furthest in ((32, 128), (32, 256), (16, 128), (8, 20), (12, 50)):
        for both in (True, False):
            theirs = t5.T5Attention._relative_position_bucket(torch.tensor(distance), both, buckets, furthest)
            assert np.array_equal(distance_buckets(distance, buckets, both, furthest), theirs.numpy())


def our_config(family, tmp_path):
    make_config(family).save_pretrained(tmp_path / "config")
    return interop.read_config(tmp_path / "config" / "config.json")[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_what_we_save(family, tmp_path):
    model = T5(our_config(family, tmp_path), seed=5)
    interop.save(model, tmp_path / "ours")
    peer, told = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert peer.config.scale_decoder_outputs == (peer.lm_head.weight is peer.shared.weight) == model.config.tied_head
    batch = make_batch("plain")
    theirs = run_peer(peer.eval(), batch)
    assert np.max(np.abs(model.logits(batch) - theirs.logits.detach().numpy())) < CHECKPOINT


def test_transformers_says_of_a_directory_what_we_say(tmp_path):
    text = "Thank you for inviting me to your party last week. "
    specials = ["<pad>", "</s>", *(f"<extra_id_{number}>" for number in range(4))]
    tokenizer = BPETokenizer.train(4 * text, 280, specials)
    pad, end = tokenizer.special_tokens["<pad>"], tokenizer.special_tokens["</s>"]
    model = T5(T5Config(280, n_layer=2, n_embd=32, n_inner=64, pad_id=pad, start_id=pad, eos_id=end), seed=1)
    interop.save(model, tmp_path, tokenizer)
    blanks = "Thank you <extra_id_0> me to your<extra_id_1> week.</s>"
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path)(blanks)["input_ids"]
    assert ids == tokenizer.encode(blanks, "all")
    peer = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    theirs = peer.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=20)[0].tolist()
    ours = list(generate_output(model, ids, max_new_tokens=20, temperature=0))
    assert theirs == [pad, *ours] + [end] * (len(ours) < 20)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_goes_to_transformers_and_back_unchanged(family, tmp_path):
    model = T5(our_config(family, tmp_path), seed=6)
    interop.save(model, tmp_path / "ours")
    peer = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    peer.save_pretrained(tmp_path / "theirs")
    back = interop.load(tmp_path / "theirs")
    assert back.config == model.config
    assert np.array_equal(back.params.data, model.params.data)


@pytest.mark.parametrize("family", ["1.0", "1.1"])
def test_an_encoder_alone_goes_to_transformers_and_back(family, tmp_path):
    theirs = transformers.T5EncoderModel(make_config(family)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = interop.load(tmp_path / "theirs")
    assert not model.config.decodes
    ids = make_batch("plain")["input_ids"]
    expected = theirs(torch.tensor(ids)).last_hidden_state
    assert np.max(np.abs(model.encode({"input_ids": ids}) - expected.detach().numpy())) < CHECKPOINT
    interop.save(model, tmp_path / "ours")
    back, told = transformers.T5EncoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert torch.equal(back(torch.tensor(ids)).last_hidden_state, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_load_as_the_float32_numbers_they_hold(dtype, tmp_path):
    peer = make_peer("1.1", dtype)
    peer.save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    assert model.params.dtype == np.float32
    for name, array in interop.tensors(model).items():
        assert np.array_equal(array, peer.state_dict()[name].float().numpy()), name


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_parameters_of_transformers_models(preset):
    ours = PRESETS[preset]
    with torch.device("meta"):
        peer = transformers.T5ForConditionalGeneration(transformers.T5Config(
            d_model=ours.n_embd, d_kv=ours.head_width, d_ff=ours.n_inner, num_layers=ours.n_layer,
            num_heads=ours.n_head, feed_forward_proj="gated-gelu" if ours.gated else "relu",
        ))  # fmt: skip
    head = 0 if ours.tied_head else ours.vocab_size * ours.n_embd  # transformers makes every head a tied one
    assert sum(count_parameters(ours).values()) == peer.num_parameters() + head
