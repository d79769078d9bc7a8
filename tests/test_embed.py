"""Vectors of sentences and words: what they are made of, what the command prints, what it refuses."""

import numpy as np
import pytest

from scratchgpt import embed, interop
from scratchgpt.cli import main
from scratchgpt.errors import InputError
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.heads import put_head
from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer

TEXTS = ["the bank of the river", "a bank", "river and banks of a river"]
WORDS = ["the", "a", "bank", "river", "of", "and", "##s", "ban", "##k"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def encoder():
    tokenizer = WordPieceTokenizer([*SPECIALS, *WORDS])
    model = BERT(
        BERTConfig(vocab_size=tokenizer.vocab_size, n_ctx=9, n_layer=2, n_head=2, n_embd=12, init="he"), seed=3
    )
    return model, tokenizer


@pytest.fixture(scope="module")
def directory(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    interop.save(encoder[0], path, encoder[1])
    return path


def test_a_sentences_vector_is_the_mean_over_its_tokens_of_length_1(encoder):
    model, tokenizer = encoder
    vectors = embed.sentence_vectors(model, tokenizer, TEXTS)
    assert vectors.shape == (3, 12) and vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors):
        alone = model.layers({"input_ids": [tokenizer.encode_inputs(text).ids]})[-1][0].mean(0)
        np.testing.assert_allclose(vector, alone / np.linalg.norm(alone), atol=1e-6)  # float32, padded or not


def test_many_texts_have_the_vectors_that_each_has_alone(encoder, monkeypatch):
    together = embed.sentence_vectors(*encoder, TEXTS)
    monkeypatch.setattr(embed, "ROWS", 2)
    np.testing.assert_allclose(embed.sentence_vectors(*encoder, TEXTS), together, atol=1e-6)  # float32


def test_a_words_vectors_begin_alike_and_are_the_mean_over_its_pieces(encoder):
    model, tokenizer = encoder
    layers = embed.word_vectors(model, tokenizer, [TEXTS[0], "of a bank"], "Bank")
    assert len(layers) == 2 + model.config.n_layer
    assert np.array_equal(layers[0][0], layers[0][1])
    (static, *_) = embed.word_vectors(model, tokenizer, ["(bank)"], "bank")
    np.testing.assert_allclose(static[0], layers[0][0], atol=1e-6)  # nothing of what it touches
    assert not np.allclose(layers[1][0], layers[1][1])
    hidden = model.layers({"input_ids": [tokenizer.encode_inputs(TEXTS[0]).ids]})[-1][0, 2]  # [CLS] the bank
    np.testing.assert_allclose(layers[-1][0], hidden / np.linalg.norm(hidden), atol=1e-6)
    table = model.params["wte"][tokenizer.encode("banks")]
    assert len(table) == 2
    (static, *_) = embed.word_vectors(model, tokenizer, [TEXTS[2]], "banks")
    np.testing.assert_allclose(static[0], table.sum(0) / np.linalg.norm(table.sum(0)), atol=1e-6)


def test_a_word_is_found_as_a_word(encoder):
    with pytest.raises(InputError, match="text 1 does not have the word 'bank': 'banks'"):
        embed.word_vectors(*encoder, ["banks"], "bank")
    with pytest.raises(InputError, match="text 1 does not have the word ''"):
        embed.word_vectors(*encoder, ["banks"], "")


def test_a_finetuned_model_gives_the_vectors_of_what_is_under_its_head(encoder, tmp_path):
    model, tokenizer = encoder
    interop.save(put_head(model, "sentence", ("a", "b")), tmp_path, tokenizer)
    found = embed.load_encoder(tmp_path)
    expected = embed.sentence_vectors(model, tokenizer, TEXTS)
    assert np.array_equal(embed.sentence_vectors(*found, TEXTS), expected)


def test_the_command_prints_the_cosines(encoder, directory, capsys):
    assert main(["embed", str(directory), *(word for text in TEXTS for word in ("--text", text))]) == 0
    out = capsys.readouterr().out
    vectors = embed.sentence_vectors(*encoder, TEXTS)
    for number, (text, row) in enumerate(zip(TEXTS, vectors @ vectors.T), 1):
        (line,) = [line for line in out.splitlines() if text in line]
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        assert cells == [f"{number}  {text}", *(f"{cosine:.3f}" for cosine in row)]
        assert cells[number] == "1.000"


def test_the_command_shows_a_word_block_by_block(encoder, directory, capsys):
    assert main(["embed", str(directory), "--text", TEXTS[0], "--text", TEXTS[1], "--word", "bank"]) == 0
    lines = [line.strip("│").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    found = {cells[0].strip(): cells[1].strip() for cells in lines}
    layers = embed.word_vectors(*encoder, TEXTS[:2], "bank")
    names = ["token alone", "and position", "block 1", "block 2"]
    assert found == {name: f"{a @ b:.3f}" for name, (a, b) in zip(names, layers, strict=True)}
    assert found["token alone"] == "1.000"


def test_long_texts_are_shown_by_their_beginning(directory, capsys):
    main(["embed", str(directory), "--text", "a bank", "--text", "river " + 70 * "x"])
    assert f"2  river {53 * 'x'}… " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text", "a"], "there is one --text; give two or more to compare"),
        (["--word", "bank"], "there is no --text; give two or more to compare"),
        (["--text", "a", "--text", " "], "text 2 is empty; a vector is made of tokens"),
        (["--text", "a", "--text", "a a a a a a a a"], "text 2 has 10 tokens; this model has 9 positions: shorten it"),
        (["--text", "a bank", "--text", "a", "--word", "bank"], "text 2 does not have the word 'bank': 'a'"),
    ],
)
def test_texts_that_have_no_vector_are_refused_on_one_line(directory, arguments, said, capsys):
    assert main(["embed", str(directory), *arguments]) == 2
    out, err = capsys.readouterr()
    assert err == f"scratchgpt: {said}\n" and out == ""


@pytest.mark.parametrize("option", [["--analogy", "a", "b", "c"], ["--analogies", "q.txt"], ["--vectors", "v.txt"]])
def test_what_only_static_vectors_have_is_refused(directory, option, capsys):
    assert main(["embed", str(directory), "--text", "a", "--text", "b", *option]) == 2
    assert f"{option[0]} is for a word2vec; {directory} holds a BERT" in capsys.readouterr().err


def test_a_model_that_is_no_encoder_is_refused(tmp_path, capsys):
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262)
    interop.save(GPT(GPTConfig(vocab_size=262, n_ctx=7, n_layer=1, n_head=1, n_embd=4)), tmp_path, tokenizer)
    assert main(["embed", str(tmp_path), "--text", "a", "--text", "b"]) == 2
    assert "holds a GPT; expected an encoder, a BERT or a RoBERTa" in capsys.readouterr().err


def test_a_roberta_over_bytes_has_sentence_vectors_and_no_place_of_a_word(tmp_path, capsys):
    specials = ("<s>", "<pad>", "</s>", "<mask>")
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262, special_tokens=specials)
    pad = tokenizer.special_tokens["<pad>"]
    config = RoBERTaConfig(vocab_size=262, n_ctx=20, n_layer=1, n_head=1, n_embd=8, pad_id=pad)
    interop.save(BERT(config, seed=1), tmp_path, tokenizer)
    model, tokenizer = embed.load_encoder(tmp_path)
    texts = ["the cat", "sat on the mat"]
    for text, vector in zip(texts, embed.sentence_vectors(model, tokenizer, texts)):
        ids = [tokenizer.special_tokens["<s>"], *tokenizer.encode(text), tokenizer.special_tokens["</s>"]]
        alone = model.layers({"input_ids": [ids]})[-1][0].mean(0)
        np.testing.assert_allclose(vector, alone / np.linalg.norm(alone), atol=1e-6)  # float32, padded or not
    assert main(["embed", str(tmp_path), "--text", texts[0], "--text", texts[1], "--word", "the"]) == 2
    assert "which only WordPiece tokenizers say here" in capsys.readouterr().err
