"""Directories of BERT, RoBERTa, SpanBERT and of models with heads: read back, and refused by name."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scratchgpt import interop
from scratchgpt.errors import InputError
from scratchgpt.models.bert import BERTConfig, RoBERTaConfig, SpanBERTConfig
from scratchgpt.models.gpt import GPTConfig
from scratchgpt.models.heads import HeadConfig
from scratchgpt.tokenizers import BPETokenizer

SHAPE = {"vocab_size": 19, "n_ctx": 7, "n_layer": 2, "n_head": 3, "n_embd": 6}
BERT, ROBERTA, GPT = BERTConfig(**SHAPE), RoBERTaConfig(**SHAPE, dropout=0.2), GPTConfig(**SHAPE)
CONFIGS = {
    "pretraining": BERT,
    "masked LM": BERTConfig(**SHAPE, nsp=False, init="bert"),
    "masked LM with a pooler": BERTConfig(**SHAPE, nsp=False, pooler=True),
    "next sentences": BERTConfig(**SHAPE, mlm=False, n_inner=24),
    "encoder": BERTConfig(**SHAPE, mlm=False, nsp=False, activation="relu", n_inner=11),
    "encoder with a pooler": BERTConfig(**SHAPE, mlm=False, nsp=False, pooler=True),
    "RoBERTa": ROBERTA,
    "RoBERTa alone": RoBERTaConfig(**SHAPE, mlm=False, pad_id=0),
    "SpanBERT": SpanBERTConfig(**SHAPE, n_span=4, span_width=5),
    "sentence": HeadConfig(BERT, "sentence", ("no", "yes"), "multi"),
    "sentence, number": HeadConfig(ROBERTA, "sentence", ("score",), "regression"),
    "tags": HeadConfig(SpanBERTConfig(**SHAPE), "tag", ("O", "B-PER", "I-PER")),
    "span": HeadConfig(ROBERTA, "span"),
    "choice": HeadConfig(BERT, "choice"),
    "GPT, sentence": HeadConfig(GPT, "sentence", ("no", "yes"), lm_weight=0.5),
    "GPT, tags": HeadConfig(GPT, "tag", ("O", "B-PER", "I-PER")),
    "GPT, span": HeadConfig(replace(GPT, tied_head=False), "span"),
    "GPT-1, choice": HeadConfig(replace(GPT, norm_first=False), "choice"),
}


def random_model(config, dtype="float32"):
    model = interop.layout_of(config).model(config, seed=None, dtype=dtype)
    model.params.data[:] = np.random.default_rng(1).standard_normal(model.params.size)
    return model


def change_config(directory, **values):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite_weights(directory, change):
    """Writes the weights again, as another program would: without our metadata, after change(tensors)."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def refusal(directory):
    with pytest.raises(InputError) as caught:
        interop.load(directory)
    message = str(caught.value)
    assert "\n" not in message and str(directory) in message
    return message


@pytest.fixture
def saved(tmp_path):
    def save(name):
        interop.save(random_model(CONFIGS[name]), tmp_path)
        return tmp_path

    return save


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_model_loads_with_the_same_config_and_bits(name, dtype, tmp_path):
    model = random_model(CONFIGS[name], dtype)
    interop.save(model, tmp_path)
    back = interop.load(tmp_path)
    assert type(back) is type(model)
    assert back.config == model.config
    assert back.params.dtype == dtype
    assert np.array_equal(back.params.data, model.params.data)


def test_the_architecture_says_which_heads_there_are(saved):
    expected = {
        "pretraining": "BertForPreTraining", "masked LM with a pooler": "BertForMaskedLM", "encoder": "BertModel",
        "next sentences": "BertForNextSentencePrediction", "SpanBERT": "BertForMaskedLM",
        "tags": "BertForTokenClassification", "RoBERTa": "RobertaForMaskedLM",
        "sentence, number": "RobertaForSequenceClassification",
        "GPT-1, choice": "OpenAIGPTDoubleHeadsModel",
    }  # fmt: skip
    for name, architecture in expected.items():
        assert json.loads((saved(name) / "config.json").read_text())["architectures"] == [architecture]


def test_an_encoder_is_stored_without_the_prefix_and_read_with_it(saved):
    directory = saved("encoder with a pooler")
    expected = interop.load(directory).params.data
    assert "pooler.dense.weight" in load_file(directory / "model.safetensors")
    rewrite_weights(directory, lambda t: [t.update({f"bert.{key}": t.pop(key)}) for key in list(t)])
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_buffers_and_the_layer_norms_names_of_old_files_are_understood(saved):
    directory = saved("pretraining")
    expected = interop.load(directory).params.data

    def age(tensors):
        tensors["bert.embeddings.position_ids"] = np.arange(7)[None]
        tensors["bert.embeddings.token_type_ids"] = np.zeros((1, 7), int)
        for key in list(tensors):
            if "LayerNorm" in key:
                tensors[key.replace(".weight", ".gamma").replace(".bias", ".beta")] = tensors.pop(key)

    rewrite_weights(directory, age)
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_a_masked_lm_that_holds_more_than_its_name_says_keeps_it(saved):
    """The published bert-base-uncased says BertForMaskedLM and holds the next sentence head; roberta-base a pooler."""
    directory = saved("pretraining")
    change_config(directory, architectures=["BertForMaskedLM"])
    assert interop.load(directory).config == CONFIGS["pretraining"]
    directory = saved("RoBERTa")
    rewrite_weights(directory, lambda t: t.update({
        "roberta.pooler.dense.weight": np.ones((6, 6), np.float32), "roberta.pooler.dense.bias": np.ones(6, np.float32)
    }))  # fmt: skip
    assert interop.load(directory).config.pooler


@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [("masked LM", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
     ("RoBERTa", "lm_head.decoder.weight", "lm_head.decoder.bias")],
)  # fmt: skip
def test_copies_of_the_tied_decoder_are_accepted_when_equal_and_refused_when_not(saved, name, weight, bias):
    directory = saved(name)
    expected = interop.load(directory).params

    def copy(tensors):
        tensors[weight], tensors[bias] = expected["wte"].copy(), expected["mlm.bias"].copy()

    rewrite_weights(directory, copy)
    assert np.array_equal(interop.load(directory).params.data, expected.data)
    rewrite_weights(directory, lambda tensors: tensors[bias].__setitem__(3, 9))
    assert "decoder.bias differs" in refusal(directory)


def test_the_decoder_alone_is_the_embedding_too(saved):
    directory = saved("masked LM")
    expected = interop.load(directory).params.data

    def move(tensors):
        tensors["cls.predictions.decoder.weight"] = tensors.pop("bert.embeddings.word_embeddings.weight")
        tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")

    rewrite_weights(directory, move)
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_a_directory_that_names_no_architecture_is_an_encoder(saved):
    directory = saved("encoder")
    change_config(directory, architectures=None)
    assert interop.load(directory).config == CONFIGS["encoder"]


def test_missing_and_unexpected_tensors_are_named(saved):
    directory = saved("sentence")

    def rename(tensors):
        tensors["score.weight"] = tensors.pop("classifier.weight")
        del tensors["bert.encoder.layer.1.attention.self.key.bias"]

    rewrite_weights(directory, rename)
    message = refusal(directory)
    assert "missing: classifier.weight, encoder.layer.1.attention.self.key.bias" in message
    assert "unexpected: score.weight" in message


@pytest.mark.parametrize(
    "values",
    [
        {"is_decoder": True}, {"add_cross_attention": True}, {"position_embedding_type": "relative_key"},
        {"tie_word_embeddings": False}, {"hidden_act": "tanh"}, {"num_attention_heads": 4},
        {"max_position_embeddings": 0}, {"pad_token_id": None}, {"type_vocab_size": "two"},
        {"id2label": ["a", "b"]}, {"id2label": {"0": "a", "2": "b"}}, {"id2label": {}},
        {"id2label": {"0": "a", "1": "a"}}, {"problem_type": "ranking"},
    ],
)  # fmt: skip
def test_a_config_that_our_models_do_not_compute_is_refused_by_name(saved, values):
    directory = saved("sentence")
    rewrite_weights(directory, lambda tensors: None)
    change_config(directory, **values)
    message = refusal(directory)
    ours = {"num_attention_heads": "n_head", "max_position_embeddings": "n_ctx", "id2label": "label"}
    name = next(iter(values))
    assert "config.json" in message and ours.get(name, name) in message


@pytest.mark.parametrize(
    ("name", "values"),
    [("sentence", {"problem_type": "single_label_classification"}), ("sentence", {"id2label": {"0": "yes", "1": "no"}}),
     ("pretraining", {"num_attention_heads": 2}), ("RoBERTa", {"pad_token_id": 2, "max_position_embeddings": 10})],
)  # fmt: skip
def test_a_config_changed_without_changing_any_shape_is_refused(saved, name, values):
    directory = saved(name)
    change_config(directory, **values)
    message = refusal(directory)
    assert "was written for" in message or "has shape" in message


@pytest.mark.parametrize("name", ["encoder", "choice"])
@pytest.mark.parametrize("values", [{"num_hidden_layers": 2**23}, {"vocab_size": 2**23}, {"hidden_size": 9}])
def test_weights_that_do_not_fit_the_config_are_refused(saved, name, values):
    directory = saved(name)
    rewrite_weights(directory, lambda tensors: None)
    change_config(directory, **values)
    assert "model.safetensors" in refusal(directory)


def test_labels_that_transformers_left_out_are_its_two(saved):
    directory = saved("sentence")
    rewrite_weights(directory, lambda tensors: None)
    config = json.loads((directory / "config.json").read_text())
    del config["id2label"], config["label2id"], config["problem_type"]
    (directory / "config.json").write_text(json.dumps(config))
    loaded = interop.load(directory).config
    assert loaded.labels == ("LABEL_0", "LABEL_1") and loaded.problem == "single"


def test_a_gpts_head_for_sentences_names_what_fills_its_rows_up(tmp_path):
    """transformers reads the last token that is not pad_token_id, and refuses a batch where there is none."""
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262)
    config = HeadConfig(replace(GPT, vocab_size=262), "sentence", ("no", "yes"))
    interop.save(random_model(config), tmp_path, tokenizer)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] == 261


def test_a_model_that_transformers_lacks_is_not_saved(tmp_path):
    for config in (HeadConfig(replace(GPT, norm_first=False), "tag", ("a", "b")), SpanBERTConfig(**SHAPE, nsp=True)):
        with pytest.raises(InputError, match="transformers has no model like"):
            interop.layout_of(config)
