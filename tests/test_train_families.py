"""Training BERT, RoBERTa, SpanBERT and T5: their datasets, what is said of their losses, and runs that resume."""

import json
import math
import signal
from functools import cache

import numpy as np
import pytest
import strict_device
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import process, refused, said, wait_for_step

from scratchgpt import interop
from scratchgpt.checkpoint import STATE_FILE, load_state
from scratchgpt.cli import main
from scratchgpt.data import documents_of, load_text, split_documents
from scratchgpt.data.corrupted import CorruptedEvaluation, what_corrupted_loss_means
from scratchgpt.data.masked import MaskedEvaluation, Pairs, guessers, what_masked_loss_means
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.objectives import Vocabulary, restore_spans
from scratchgpt.ops import table
from scratchgpt.optim import AdamW
from scratchgpt.progress import describe
from scratchgpt.run import config_from
from scratchgpt.run.families import FAMILIES

MODELS = ("bert", "roberta", "spanbert", "t5")
MASKED = MODELS[:3]
TINY = {"vocab_size": 300, "n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 24, "batch_size": 4, "steps": 12,
        "warmup_steps": 2, "checkpoint_every": 5, "eval_every": 4, "log_every": 2, "threads": 2}  # fmt: skip
OPTIONS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@cache
def addresses():
    return documents_of(load_text("addresses"))


def prose(n_documents=12, seed=0, n_sentences=12):
    """The beginnings of some addresses, a line for each sentence."""
    parts = [document[8 * seed : 8 * seed + n_sentences] for document in addresses()[:n_documents]]
    return "\n\n".join("\n".join(sentence.strip() for sentence in part) for part in parts) + "\n"


def babble(letters, n_documents, seed):
    """Documents of words that are made of some letters alone."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list(letters), rng.integers(3, 7))) for _ in range(400)]
    return "\n\n".join("\n".join(" ".join(rng.choice(words, 8)) for _ in range(12)) for _ in range(n_documents)) + "\n"


def made(model, text=None, learned_from=None, **options):
    """(dataset, model's shape, tokenizer, config) as a run makes them; learned_from: the tokenizer's text."""
    config = config_from(TINY | {"model": model} | options)
    family = config.family
    train, validation = family.split(prose() if text is None else text)
    tokenizer = family.train_tokenizer(learned_from or train, config)
    shape = family.shape(config, tokenizer.vocab_size, tokenizer.special_tokens)
    return family.dataset(train, validation, tokenizer, shape, config), shape, tokenizer, config


def model_of(name, shape, **options):
    return FAMILIES[name].model(shape, **{"seed": 3} | options)


def same(a, b):
    return all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "prose.txt"
    path.write_text(prose(), encoding="utf-8")
    return path


# ---- documents


def test_the_addresses_are_32_documents_of_which_the_last_are_held_out():
    text = load_text("addresses")
    train, validation = split_documents(text)
    assert train + validation == text and 0.09 < len(validation) / len(text) < 0.14
    assert (len(documents_of(train)), len(documents_of(validation))) == (29, 3)
    assert len(documents_of(text)[0]) > 150  # its one line is divided


def test_sentences_end_with_lines_and_within_long_ones_at_full_stops_that_no_abbreviation_has():
    long = "We thank Mr. Smith of the U.S. Senate. " * 6 + 'Did J. Smith go? Yes! He said "No." Then 3 left.'
    assert documents_of(f"A. B.\nshort line\n\n \n{long}\n") == [
        ["A. B.\n", "short line"],
        ["We thank Mr. Smith of the U.S. Senate.", *[" We thank Mr. Smith of the U.S. Senate."] * 5,
         " Did J. Smith go?", " Yes!", ' He said "No."', " Then 3 left.\n"],
    ]  # fmt: skip


@given(st.text(alphabet='aB. !?"\n\t', max_size=300), st.integers(1, 4))
def test_nothing_of_a_text_is_lost_between_documents_and_sentences(text, times):
    text *= times
    assert "".join("".join(map("".join, documents_of(text))).split()) == "".join(text.split())
    if text:
        assert "".join(split_documents(text)) == text


def test_the_held_out_part_begins_with_a_document_and_a_single_one_is_cut_at_a_line():
    train, validation = split_documents(prose())
    assert train.endswith("\n\n") and prose().endswith("\n\n" + validation) and len(documents_of(validation)) == 2
    assert len(documents_of(split_documents(prose(4))[1])) == 2
    one = prose(1)
    train, validation = split_documents(one)
    assert train + validation == one and validation and train.endswith("\n")


# ---- batches


@pytest.mark.parametrize("model", MODELS)
def test_batches_are_a_pure_function_of_seed_and_step(model):
    data, shape, _, _ = made(model)
    again = made(model)[0]
    for step in (40, 3, 41, 0):  # several epochs, in any order
        assert same(data.at(step), again.at(step))
    assert not same(data.at(3), data.at(4)) and not same(data.at(3), made(model, seed=1)[0].at(3))
    if model == "t5":  # not the rows alone, what is hidden too
        hidden = [np.isin(data.at(step)[0]["input_ids"], data.corruption.sentinels) for step in (3, 4)]
        assert not np.array_equal(*hidden)
    parts = made(model, batch_size=2, accumulate=2)[0].at(3)
    assert len(parts) == 2 and all(len(part["input_ids"]) == 2 for part in parts)
    assert np.array_equal(np.concatenate([part["labels"] for part in parts]), data.at(3)[0]["labels"])
    assert data.at(0)[0]["input_ids"].shape[1] <= shape.n_ctx


@pytest.mark.parametrize("model", MASKED)
def test_an_epoch_reads_each_row_once_with_masks_of_its_own(model):
    data = made(model, batch_size=1)[0]
    epochs = [[data.at(step)[0] for step in range(first, first + data.rows_per_epoch)]
              for first in (0, data.rows_per_epoch)]  # fmt: skip
    first, second = ([restored(batch).tobytes() for batch in epoch] for epoch in epochs)
    assert first != second
    if model == "bert":  # its pairs are drawn anew
        assert set(first) != set(second)
        return
    assert sorted(first) == sorted(second)
    labels = [dict(zip(rows, (batch["labels"].tobytes() for batch in epoch)))
              for rows, epoch in zip((first, second), epochs)]  # fmt: skip
    assert sum(labels[0][row] == labels[1][row] for row in first) < 0.2 * len(first)


def test_static_masks_come_back_and_dynamic_ones_do_not():
    def masks_of_row(data):
        """{row: its masks, one for each of four epochs}."""
        found = {}
        for step in range(4 * data.rows_per_epoch):
            batch = data.at(step)[0]
            found.setdefault(restored(batch).tobytes(), []).append(batch["labels"].tobytes())
        return found.values()

    for masks, expected in ((1, 1), (2, 2), (None, 4)):
        counts = [len(set(each)) for each in masks_of_row(made("roberta", masks=masks, batch_size=1)[0])]
        assert np.mean(counts) == pytest.approx(expected, rel=0.1)  # a few rows, and a few masks, are the same


def restored(batch):
    """The text of a batch of masked tokens: what was there before."""
    return np.where(batch["labels"] == IGNORED, batch["input_ids"], batch["labels"])


@pytest.mark.parametrize("model", MODELS)
def test_special_tokens_are_never_predicted_and_nothing_is_lost(model):
    data, shape, tokenizer, _ = made(model)
    special = list(tokenizer.special_tokens.values())
    for batch in (batch for step in range(12) for batch in data.at(step)):
        if model == "t5":
            rows = restore_spans(batch["input_ids"], batch["labels"], data.corruption.sentinels, shape.eos_id)
            assert not np.isin(rows, special).any() and rows.shape[1] == data.corruption.width
            continue
        assert not np.isin(batch["labels"][batch["labels"] != IGNORED], special).any()
        rows, present = restored(batch), batch["attention_mask"] == 1
        assert (rows[~present] == shape.pad_id).all() and (batch["labels"][~present] == IGNORED).all()
        assert (rows[:, 0] == data.rows.vocabulary.cls).all() and data.rows.vocabulary.mask not in rows


@pytest.mark.parametrize("model", MODELS)
def test_nothing_of_the_validation_text_is_in_the_training_rows(model):
    """Both are made of letters of their own; random tokens in place of masked ones are not of the text."""
    text = babble("abcdef", 18, 0) + "\n" + babble("mnopqr", 3, 1)
    data, _, tokenizer, _ = made(model, text, learned_from=text)

    def letters(rows):
        ids = np.concatenate([np.ravel(row) for row in rows])
        return {letter for letter in tokenizer.decode(ids[~np.isin(ids, list(tokenizer.special_tokens.values()))])
                if letter.isalpha()}  # fmt: skip

    for step in range(data.n_train // data.tokens_per_step * 2):
        batch = data.at(step)[0]
        assert letters([batch["input_ids"], batch["labels"]] if model == "t5" else restored(batch)) <= set("abcdef")
    held = data.held_out.rows if model == "t5" else restored(data.held_out.batch)
    assert letters(held) == set("mnopqr")


@pytest.mark.parametrize("model", MODELS)
def test_the_digest_tells_texts_objectives_and_models_apart(model):
    others = [made(model, prose(seed=5))[0]]
    others += [made("roberta", masks=3)[0]] if model == "roberta" else []
    others += [made("t5", objective="prefix")[0]] if model == "t5" else []
    digests = [each.digest() for each in (made(model)[0], *others)]
    assert len(set(digests)) == len(digests) and made(model)[0].digest() == digests[0]


# ---- a step


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_step_of_several_batches_on_several_threads_is_one_big_batch(model, threads):
    """Each objective is divided by its own number of targets in the whole step."""
    data, shape, _, _ = made(model, batch_size=3, accumulate=4)
    parts = data.at(5)
    parts[1] = {name: array[:1] for name, array in parts[1].items()}  # batches of unequal sizes
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ours, expected = (model_of(model, shape, dtype="float64") for _ in range(2))
    shards = Shards(ours, threads)
    loss = float(shards.loss_and_grad(parts))
    expected_loss, cache = expected.loss(whole)
    # float64 sums in another order
    assert loss == pytest.approx(float(expected_loss), rel=1e-12)
    if model != "t5":
        named = {name: float(value) for name, value in expected.losses(cache).items()}
        assert shards.losses == pytest.approx(named, rel=1e-12) and len(named) == (1 if model == "roberta" else 2)
    expected.backward(cache)
    np.testing.assert_allclose(ours.params.grad, expected.params.grad, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", MODELS)
def test_two_training_steps_and_an_evaluation_on_the_device_double_give_the_bits_of_numpy(model):
    data, shape, _, _ = made(model, dropout=0.1)
    left = []
    for xp in (np, strict_device):
        one = model_of(model, shape, xp=xp, ops=table("reference"))
        shards, optimizer = Shards(one, 1), AdamW(one.params, one.ops)
        for step in range(2):
            shards.loss_and_grad(data.at(step), 1, step)
            optimizer.step(1e-2, max_norm=1.0)
        left.append((np.asarray(one.params.data.get() if xp is strict_device else one.params.data), one))
    assert np.array_equal(left[0][0], left[1][0])
    assert data.evaluate(left[0][1], 1, whole=False) == data.evaluate(left[1][1], 1, whole=False)


# ---- what is measured


@pytest.mark.parametrize("model", MASKED)
def test_the_evaluation_is_the_models_own_loss_on_masks_that_are_always_the_same(model):
    data, shape, _, _ = made(model)
    assert same([data.held_out.batch], [made(model, seed=9)[0].held_out.batch])
    one, batch = model_of(model, shape, dtype="float64"), data.held_out.batch
    losses = {name: float(value) for name, value in one.losses(one.loss(batch)[1]).items()}
    result = data.evaluate(one, 2)
    assert result == data.evaluate(one, 1)
    # float64 sums in another order
    assert result.nats_per_token == pytest.approx(losses["mlm"], rel=1e-12)
    said = one.logits(batch).argmax(-1) == batch["labels"]
    assert result.tokens == (batch["labels"] != IGNORED).sum() and result.accuracy == said.sum() / result.tokens
    hidden = (batch["labels"] != IGNORED) & (batch["input_ids"] == data.rows.vocabulary.mask)
    assert result.hidden_accuracy == pytest.approx(said[hidden].mean())
    if model == "bert":
        answers = one.next_sentence_logits(batch).argmax(-1)
        assert result.nsp_accuracy == pytest.approx((answers == batch["next_sentence_label"]).mean())
        assert result.nsp_nats == pytest.approx(losses["nsp"], rel=1e-12) and result.pairs == len(answers)
    if model == "spanbert":
        assert result.span_nats == pytest.approx(losses["span"], rel=1e-12)
    assert 0 < data.evaluate(one, whole=False).tokens <= result.tokens


@pytest.mark.parametrize("objective", ["span", "prefix"])
def test_a_t5s_evaluation_is_its_own_loss_and_counts_spans_that_are_whole(objective):
    data, shape, _, _ = made("t5", prose(40), objective=objective)
    one = model_of("t5", shape, dtype="float64")
    batches = data.held_out.batches(data.held_out.rows)
    total = sum(float(one.loss(batch, denominator=1)[0]) for batch in batches)
    result = data.evaluate(one, 2)
    # float64 sums in another order
    assert result.nats_per_token == pytest.approx(total / sum(batch["labels"].size for batch in batches), rel=1e-12)
    assert (result.spans_right is None) == (objective == "prefix")


def test_a_span_is_right_when_all_of_it_and_its_end_are():
    data, _, _, _ = made("t5")
    batch = {"labels": np.array([[298, 5, 6, 299, 7, 297, 1]])}
    data.corruption.sentinels = np.array([298, 299, 297])
    for wrong, expected in ((None, [1, 1]), (0, [1, 1]), (2, [0, 1]), (3, [0, 1]), (4, [1, 0]), (5, [1, 0])):
        right = np.array([place != wrong for place in range(7)])
        assert data.held_out.spans_right(batch, (None, right)).tolist() == expected


def test_the_lines_are_the_losses_of_guessers_on_the_predicted_tokens():
    """Against the posterior written out: which of the ways that a token can have come about is how likely."""
    data, _, _, _ = made("bert")
    batch, vocabulary, counts = data.held_out.batch, data.rows.vocabulary, data.counts
    lines, ordinary = data.lines, data.rows.vocabulary.ordinary_ids()
    p = {token: (counts[token] + 1) / (counts[ordinary].sum() + len(ordinary)) for token in ordinary.tolist()}
    unigram, in_sight = [], []
    for seen, token in zip(batch["input_ids"][batch["labels"] != IGNORED].tolist(),
                           batch["labels"][batch["labels"] != IGNORED].tolist()):  # fmt: skip
        unigram.append(-math.log(p[token]))
        if seen == vocabulary.mask:
            in_sight.append(unigram[-1])
            continue
        kept = {each: 0.1 * p[each] * (each == seen) for each in p}
        swapped = {each: 0.1 * p[each] / len(ordinary) for each in p}
        in_sight.append(-math.log((kept[token] + swapped[token]) / (sum(kept.values()) + sum(swapped.values()))))
    # float64 sums in another order
    assert lines["unigram"] == pytest.approx(np.mean(unigram), rel=1e-9)
    assert lines["in sight"] == pytest.approx(np.mean(in_sight), rel=1e-9)
    assert lines["in sight"] < lines["unigram"] < lines["uniform"] == math.log(len(ordinary))


def test_a_token_that_was_never_seen_costs_a_finite_number():
    vocabulary = Vocabulary(6, (0, 1), mask=1)
    lines = guessers(np.array([0, 0, 4, 4, 0, 0]), vocabulary, np.array([[1]]), np.array([[5]]))
    assert lines["unigram"] == lines["in sight"] == pytest.approx(math.log(12))


def test_the_sentence_says_stuck_at_the_unigram_until_context_helps():
    lines = {"uniform": 7.0, "unigram": 6.0, "in sight": 5.5}

    def sentence(loss, **more):
        return what_masked_loss_means(MaskedEvaluation(loss, 0.1, 0.05, 100, **more), lines)

    assert "6.10 is not below the token frequencies (6.00): stuck at the unigram" in sentence(6.1)
    assert "are in sight" in sentence(5.7) and "stuck at the unigram" in sentence(5.7)
    assert "the model uses context" in sentence(5.4) and "stuck" not in sentence(5.4)
    assert "71.0% of the pairs" in sentence(5.4, nsp_nats=0.6, nsp_accuracy=0.71, pairs=50)
    corrupted = CorruptedEvaluation(4.0, 5.0, 0.1, 0.0, 9)
    assert "stuck at the unigram" in what_corrupted_loss_means(corrupted, 5.0, 4.9)
    assert "uses what it reads" in what_corrupted_loss_means(corrupted, 5.0, 5.1)


def test_a_run_that_has_learned_nothing_says_so_and_one_that_has_does_not():
    """Frequencies alone, as the output bias can hold them, are the line itself."""
    data, shape, _, _ = made("roberta")
    model = model_of("roberta", shape, seed=None, dtype="float64")
    p = (data.counts + 1) / (data.counts + 1).sum()
    model.params["mlm.bias"][...] = np.log(p)
    result = data.evaluate(model)
    # the smoothing counts special tokens here and not there
    assert result.nats_per_token == pytest.approx(data.lines["unigram"], abs=0.02)
    assert "stuck at the unigram" in data.verdict(result)


def test_progress_names_the_parts_of_a_loss():
    record = {"step": 1, "loss": 5.5, "mlm_loss": 4.8, "nsp_loss": 0.7, "tokens_per_s": 9.0, "seconds_left": 1}
    assert describe(record).startswith("loss 5.500 (mlm 4.800, nsp 0.700)  9 tokens/s")
    assert describe(record | {"nsp_loss": 0.7} | {"mlm_loss": 5.5}).count("(") == 1
    del record["nsp_loss"]
    assert describe(record).startswith("loss 5.500  9 tokens/s")


# ---- from the command line


@pytest.mark.parametrize("model", MODELS)
def test_train_leaves_a_run_that_eval_reads_to_the_same_figures(capsys, tmp_path, text_file, model):
    out = tmp_path / model
    code, printed, err = said(capsys, "train", "--model", model, "--data", text_file, "--out", out, *OPTIONS)
    assert (code, err) == (0, "") and f"a {FAMILIES[model].title} of" in printed
    assert "stuck at the unigram" in printed or "model uses" in printed
    shown = "as the encoder reads it" if model == "t5" else "A sentence of the validation text"
    assert shown in printed and "MFU" in printed
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    parts = {"bert": ["mlm_loss", "nsp_loss"], "roberta": ["mlm_loss"], "spanbert": ["mlm_loss", "span_loss"], "t5": []}
    first = records[0]
    assert [name for name in first if name.endswith("_loss")] == parts[model]
    assert first["loss"] == pytest.approx(sum(first[name] for name in parts[model] or ["loss"]), rel=1e-6)
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG") and records[-1]["whole"]
    code, own, _ = said(capsys, "eval", out)
    assert code == 0 and f"{records[-1]['val_loss']:.4f}" in own
    validation = tmp_path / "last.txt"
    validation.write_text(split_documents(prose())[1], encoding="utf-8")
    assert said(capsys, "eval", out, "--data", validation)[1].splitlines()[1:] == own.splitlines()[1:]


def test_tokenizers_say_the_roles_of_their_special_tokens(tmp_path):
    roles = {"roberta": {"mask_token": "<mask>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"},
             "t5": {"pad_token": "<pad>", "eos_token": "</s>"}}  # fmt: skip
    for model, expected in roles.items():
        made(model)[2].save(tmp_path / model)
        said = json.loads((tmp_path / model / "tokenizer_config.json").read_text())
        assert expected.items() <= said.items() and ("mask_token" in said) == (model == "roberta")


@pytest.mark.parametrize("model", MODELS)
def test_a_run_stopped_by_ctrl_c_and_by_kill_ends_with_the_same_bits(tmp_path, text_file, model):
    def arguments(out):
        return ["train", "--model", model, "--data", text_file, "--out", out, "--quiet", *OPTIONS, "--steps", 80,
                "--dropout", 0.1]  # fmt: skip

    assert process(*arguments(tmp_path / "whole")).communicate() == ("", "")
    out = tmp_path / "stopped"
    running = process(*arguments(out))
    wait_for_step(out, 6, running)
    running.send_signal(signal.SIGINT)
    assert f"to resume: scratchgpt train --resume {out}" in running.communicate()[1]
    step = load_state(out).step
    running = process("train", "--resume", out, "--quiet")
    wait_for_step(out, step + 12, running)  # past the next checkpoint, which comes every 5 steps
    running.kill()
    running.communicate()
    assert step < load_state(out).step < 80
    assert process("train", "--resume", out, "--quiet").communicate() == ("", "")
    expected = load_state(tmp_path / "whole").arrays
    assert all(array.tobytes() == expected[name].tobytes() for name, array in load_state(out).arrays.items())
    np.testing.assert_array_equal(interop.load(out).params.data, interop.load(tmp_path / "whole").params.data)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("bert", ["--moe-experts", "4"], "--moe-experts is for --model gpt; bert has no use for it"),
        ("t5", ["--init", "he"], "t5 has no use"),
        ("spanbert", ["--masks", "2"], "--masks is for --model roberta"),
        ("roberta", ["--objective", "prefix"], "--objective is for --model t5"),
        ("bert", ["--preset", "gpt2"], "--preset is for --model gpt"),
        ("bert", ["--init", "gpt2"], "init is 'gpt2'"),
        ("roberta", ["--masks", "0"], "masks is 0"),
        ("t5", ["--objective", "lm"], "invalid choice"),
        ("gpt3", [], "invalid choice"),
        ("bert", ["--vocab-size", "20"], "characters"),
        ("roberta", ["--vocab-size", "259"], "below 260"),
        ("t5", ["--vocab-size", "280"], "below 290"),
        ("bert", ["--n-ctx", "3"], "limit of 0"),
        ("t5", ["--n-ctx", "2"], "2 inputs cannot hold"),
        ("t5", ["--n-ctx", "9000", "--vocab-size", "1000"], "shorter than one context"),
        ("t5", ["--n-head", "3"], "not divisible"),
    ],
)
def test_options_that_cannot_be_are_one_line_and_nothing_is_written(
    capsys, tmp_path, text_file, model, options, message
):
    out = tmp_path / "run"
    command = ["train", "--model", model, "--data", text_file, "--out", out, *OPTIONS, *options]
    assert message in refused(capsys, *command)
    assert not out.exists()


def test_texts_and_tokenizers_that_do_not_serve_are_one_line(capsys, tmp_path, text_file):
    one = tmp_path / "one.txt"
    one.write_text(prose(1), encoding="utf-8")
    train = ["train", *OPTIONS, "--out", tmp_path / "run"]
    assert "separate documents by blank lines" in refused(capsys, *train, "--data", one, "--model", "bert")
    tokenizer = tmp_path / "bpe"
    assert main(["tokenizer", "train", "--data", str(text_file), "--vocab-size", "290", "--out", str(tokenizer)]) == 0
    capsys.readouterr()
    given = [*train, "--data", text_file, "--tokenizer", tokenizer, "--model"]
    assert "vocabulary has no cls" in refused(capsys, *given, "bert")
    assert "no </s>" in refused(capsys, *given, "t5")
    assert not (tmp_path / "run").exists()


def test_resume_refuses_another_model_and_options_that_change_the_batches(capsys, tmp_path, text_file):
    out = tmp_path / "run"
    assert main(["train", "--model", "roberta", "--data", str(text_file), "--out", str(out), "--quiet", *OPTIONS,
                 "--steps", "2"]) == 0  # fmt: skip
    assert "--model is bert" in refused(capsys, "train", "--resume", out, "--model", "bert")
    assert "--masks is 2" in refused(capsys, "train", "--resume", out, "--masks", "2")
    text_file = tmp_path / "changed.txt"
    text_file.write_text(prose().replace("cat", "dog"), encoding="utf-8")
    assert "another text" in refused(capsys, "train", "--resume", out, "--data", text_file)
    assert load_state(out / STATE_FILE).step == 2


def test_eval_refuses_a_model_that_predicts_no_text(capsys, tmp_path, text_file):
    from scratchgpt.models.bert import BERT, BERTConfig

    _, shape, tokenizer, _ = made("bert")
    bare = BERTConfig(**vars(shape) | {"mlm": False, "nsp": False, "pooler": False})
    interop.save(BERT(bare), tmp_path / "bare", tokenizer)
    assert "no masked LM head" in refused(capsys, "eval", tmp_path / "bare", "--data", text_file)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(12, 40))
def test_pairs_of_any_width_fill_their_rows_with_padding_alone(seed, n_ctx):
    data, _, tokenizer, _ = made("bert")
    rows = Pairs(data.rows.documents, tokenizer, n_ctx).draw(np.random.default_rng(seed), seed, 0)
    assert all(rows[name].shape[1] == n_ctx for name in rows if name != "next_sentence_label")
    assert ((rows["input_ids"] == 0) == (rows["attention_mask"] == 0)).all()


@pytest.mark.parametrize("model", ["bert", "spanbert"])
def test_rows_of_unknown_tokens_alone_are_left_out(model):
    """A sentence of just as many tokens as a row takes, and one that the vocabulary cannot spell after it."""
    data, shape, tokenizer, _ = made(model)
    known, unknown = tokenizer.encode_array("the"), np.array([tokenizer.special_tokens["[UNK]"]], np.uint16)
    sentence = np.concatenate([*[known] * ((shape.n_ctx - 2) // len(known)), unknown])
    documents = [[sentence[:-1], *[unknown] * 40], [sentence] * 3]
    rows = type(data.rows)(documents, tokenizer, shape.n_ctx).draw(np.random.default_rng(0), 0, 0)
    ordinary = ~np.isin(restored(rows), list(tokenizer.special_tokens.values()))
    assert ordinary.any(1).all() and len(rows["labels"]) > 2


def test_documents_need_not_fill_a_batch():
    data, _, _, _ = made("bert", prose(10), batch_size=200)
    assert data.rows_per_epoch < 200 and len(data.at(0)[0]["input_ids"]) == 200


def test_a_family_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="model is 'bart'"):
        config_from({"model": "bart"})
