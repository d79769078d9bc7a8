"""scratchgpt generate: the blanks of a text, filled in by a T5; and every input it refuses."""

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.cli import main
from scratchgpt.distributed import Shards
from scratchgpt.infill import read_text
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.t5 import T5, T5Config
from scratchgpt.objectives import corrupt_spans, fill_spans, sentinel_ids
from scratchgpt.optim import AdamW
from scratchgpt.sampling import generate_output
from scratchgpt.tokenizers import BPETokenizer

SENTENCE = "the quick brown fox jumps over the lazy dog and runs away"
SPECIALS = ["<pad>", "</s>", *(f"<extra_id_{number}>" for number in range(6))]
SHAPE = {"n_ctx": 40, "n_layer": 1, "n_head": 2, "n_embd": 32, "head_width": 16, "n_inner": 64}


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(3 * (SENTENCE + " "), 306, SPECIALS)  # each word is a token


def make_model(tokenizer, seed=0):
    pad, eos = (tokenizer.special_tokens[name] for name in ("<pad>", "</s>"))
    return T5(T5Config(tokenizer.vocab_size, pad_id=pad, start_id=pad, eos_id=eos, **SHAPE), seed=seed)


@pytest.fixture(scope="module")
def directory(tokenizer, tmp_path_factory):
    """A run's directory, of a model that knows one sentence by heart."""
    model, rng = make_model(tokenizer), np.random.default_rng(0)
    ids = np.tile(tokenizer.encode_array(SENTENCE).astype(int), (16, 1))
    optimizer, shards = AdamW(model.params, model.ops), Shards(model, threads=1)
    for _ in range(250):
        made = corrupt_spans(ids, rng, sentinel_ids(tokenizer), model.config.eos_id, rate=0.2, mean_span=1)
        shards.loss_and_grad([{"input_ids": made.inputs, "labels": made.targets}])
        optimizer.step(3e-3, max_norm=1.0)
    path = tmp_path_factory.mktemp("t5")
    interop.save(model, path, tokenizer)
    return path


def said(capsys, *arguments):
    """(exit code, standard output, standard error) of one command."""
    code = main([str(word) for word in ("generate", *arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_model_that_knows_the_sentence_fills_in_its_blanks(capsys, directory):
    text = "the quick<extra_id_0> fox jumps over the<extra_id_1> dog and runs away"
    assert said(capsys, directory, "--text", text) == (
        0, f"<extra_id_0> brown<extra_id_1> lazy<extra_id_2>\n{SENTENCE}\n", "",
    )  # fmt: skip


def test_drawn_tokens_are_those_of_the_library_with_and_without_a_cache(capsys, directory, tokenizer):
    text, options = "<extra_id_0> brown fox", {"temperature": 2.0, "top_k": 50, "top_p": 0.95, "seed": 4}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    ids = [*tokenizer.encode(text, "all"), tokenizer.special_tokens["</s>"]]
    output = tokenizer.decode(generate_output(interop.load(directory), ids, max_new_tokens=12, **options))
    for more in ([], ["--no-cache"]):
        code, out, err = said(capsys, directory, "--text", text, "--max-tokens", 12, *words, *more)
        assert (code, err) == (0, "") and out.startswith(output + "\n")


def test_a_plain_text_is_answered_as_it_is(capsys, directory, tokenizer):
    ids = [*tokenizer.encode(SENTENCE), tokenizer.special_tokens["</s>"]]
    output = tokenizer.decode(generate_output(interop.load(directory), ids, temperature=0))
    assert said(capsys, directory, "--text", SENTENCE, "--plain") == (0, output + "\n", "")


def test_other_special_tokens_in_a_text_are_text(tokenizer):
    ids = read_text("a</s><pad> fox <extra_id_0>", tokenizer)
    assert tokenizer.decode(ids) == "a</s><pad> fox <extra_id_0>"
    assert set(ids) & set(tokenizer.special_tokens.values()) == {tokenizer.special_tokens["<extra_id_0>"]}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([100, 7, 8, 101, 9, 102, 3], [5, 7, 8, 6, 9]),
        ([101, 9, 100, 7, 102], [5, 7, 6, 9]),  # in another order
        ([100, 7], [5, 7, 6, 101]),  # one stays a blank
        ([100, 101, 102], [5, 6]),  # nothing belongs there
        ([3, 100, 7, 101, 9, 100, 4], [5, 7, 6, 9]),  # said twice: the first counts
        ([], [5, 100, 6, 101]),
    ],
)
def test_an_output_goes_where_its_blanks_are(output, expected):
    assert fill_spans([5, 100, 6, 101], output, [100, 101, 102]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no blanks", "the text has no blanks; put <extra_id_0>, <extra_id_1>, ... where something is to be filled in"),
        ("", "the text has no blanks"),
        ("a <extra_id_1>", "the blanks of the text are <extra_id_1>; expected <extra_id_0>, in this order"),
        ("<extra_id_0> a <extra_id_0>", "are <extra_id_0>, <extra_id_0>; expected <extra_id_0>, <extra_id_1>, in"),
        (" ".join(f"<extra_id_{n}>" for n in (3, 2, 1, 0)), "are <extra_id_3>, <extra_id_2>, <extra_id_1>, ...; exp"),
        (" ".join(f"<extra_id_{n}>" for n in range(6)), "has 6 blanks; the tokenizer has 6 sentinels, for 5 blanks"),
        ("<extra_id_0>" + "x" * 39, "the input has 41 tokens; this model takes n_ctx 40"),
    ],
)
def test_a_text_that_cannot_be_filled_in_is_refused_in_one_line(capsys, directory, text, expected):
    code, out, err = said(capsys, directory, "--text", text)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert expected in err


def test_an_empty_plain_text_and_settings_out_of_range_are_refused(capsys, directory):
    assert "--text is empty" in said(capsys, directory, "--text", "", "--plain")[2]
    for option, value in (("--temperature", -1), ("--top-k", 0), ("--top-p", 2), ("--seed", -1), ("--max-tokens", -1)):
        code, out, err = said(capsys, directory, "--text", "<extra_id_0>", option, value)
        assert (code, out) == (2, "") and option[2:].replace("max-tokens", "max_new_tokens").replace("-", "_") in err


def test_other_models_and_tokenizers_without_sentinels_are_refused(capsys, tmp_path):
    plain = BPETokenizer.train(3 * SENTENCE, 290)
    interop.save(GPT(GPTConfig(290, n_ctx=8, n_layer=1, n_head=1, n_embd=4)), tmp_path / "gpt", plain)
    code, out, err = said(capsys, tmp_path / "gpt", "--text", "<extra_id_0>")
    assert (code, out) == (2, "") and f"{tmp_path / 'gpt'} holds a GPT; expected a T5" in err
    interop.save(T5(T5Config(290, **SHAPE)), tmp_path / "t5", plain)
    assert "the tokenizer has no sentinels" in said(capsys, tmp_path / "t5", "--text", "<extra_id_0>")[2]
    interop.save(T5(T5Config(290, n_decoder_layer=0, **SHAPE)), tmp_path / "encoder", plain)
    assert "this model is an encoder alone" in said(capsys, tmp_path / "encoder", "--text", "a", "--plain")[2]
    assert "is not a directory" in said(capsys, tmp_path / "none", "--text", "<extra_id_0>")[2]


def test_sample_refuses_a_t5_in_one_line(capsys, directory):
    code = main(["sample", str(directory), "--prompt=a"])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err == f"scratchgpt: {directory} holds a T5; expected a GPT, which predicts the next token\n"
