"""scratchgpt train --model word2vec: the run's directory, exact resume, eval, options, refusals."""

import json
import signal

import numpy as np
import pytest

import scratchgpt
from scratchgpt.checkpoint import load_state
from scratchgpt.cli import main
from scratchgpt.data import load_text
from scratchgpt.models.word2vec import Word2Vec
from scratchgpt.tokenizers import BPETokenizer, WordTokenizer
from scratchgpt.train import Trainer

OPTIONS = ["--n-embd", "8", "--batch-size", "300", "--warmup-steps", "2", "--threads", "1", "--min-count", "4"]
FILES = ("training_state.safetensors", "model.safetensors", "config.json", "words.json", "metrics.jsonl", "loss.png")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "part.txt"
    path.write_text(load_text("addresses")[:60000], encoding="utf-8")
    return str(path)


def train(corpus, out, *options):
    return main(["train", "--model", "word2vec", "--data", corpus, "--out", str(out), *OPTIONS, *options])


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train(corpus, out, "--steps", "12", "--log-every", "4", "--eval-every", "8", "--quiet") == 0
    return out


def test_a_run_leaves_a_directory_that_load_reads(run):
    model = scratchgpt.load(run)
    assert isinstance(model, Word2Vec) and model.config.n_embd == 8
    words = scratchgpt.load_tokenizer(run)
    assert isinstance(words, WordTokenizer) and words.vocab_size == model.config.vocab_size
    state = load_state(run)
    assert np.array_equal(state.arrays["weights"], model.params.data)
    assert {path.name for path in run.iterdir()} == set(FILES)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["whole"] and 0 < last["first"] < 1 and last["val_loss"] < 6 * np.log(2)


def test_a_run_stopped_and_resumed_has_the_same_bytes(run, corpus, tmp_path, monkeypatch):
    step = Trainer.step

    def step_and_ctrl_c(self):
        result = step(self)
        if self.done == 5:
            self.stop_signal = signal.SIGINT
        return result

    monkeypatch.setattr(Trainer, "step", step_and_ctrl_c)
    assert train(corpus, tmp_path, "--steps", "12", "--log-every", "4", "--eval-every", "8", "--quiet") == 130
    monkeypatch.undo()
    assert load_state(tmp_path).step == 5
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 0
    for name in ("model.safetensors", "config.json", "words.json"):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes(), name
    whole, resumed = load_state(run), load_state(tmp_path)
    assert resumed.step == 12
    for name, array in whole.arrays.items():
        assert np.array_equal(resumed.arrays[name], array), name


def test_force_leaves_nothing_of_the_run_before(corpus, tmp_path, capsys):
    assert train(corpus, tmp_path, "--steps", "2", "--quiet") == 0
    gpt = ["train", "--data", corpus, "--out", str(tmp_path), "--steps", "1", "--vocab-size", "300", "--n-layer", "1"]
    assert main([*gpt, "--n-embd", "8", "--n-ctx", "16", "--quiet"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main([*gpt, "--n-embd", "8", "--n-ctx", "16", "--quiet", "--force"]) == 0
    assert not (tmp_path / "words.json").exists()


def test_resuming_with_another_window_is_refused(run, capsys):
    assert main(["train", "--resume", str(run), "--window", "3"]) == 2
    assert "--window is 3, but the run in" in capsys.readouterr().err


def test_eval_repeats_what_training_measured_on_the_held_out_text(run, capsys):
    assert main(["eval", str(run)]) == 0
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    out = capsys.readouterr().out
    assert f"{last['val_loss']:.4f}" in out and f"{last['val_pairs']:,} pairs" in out


def test_eval_measures_other_texts_by_the_counts_of_the_training_text(run, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("The people of America and the Congress of the people. " * 9, encoding="utf-8")
    assert main(["eval", str(run), "--data", str(tmp_path / "other.txt")]) == 0
    assert "nats per pair" in capsys.readouterr().out


def test_the_command_says_what_it_does_and_shows_neighbours(corpus, tmp_path, capsys):
    assert train(corpus, tmp_path / "run", "--steps", "4") == 0
    out = capsys.readouterr().out
    assert "a word2vec of" in out and "nats per pair" in out and "what is nearest to them" in out
    assert main(["embed", str(tmp_path / "run"), "--word", "people"]) == 0
    assert "nearest to 'people'" in capsys.readouterr().out


def test_steps_are_a_function_of_seed_and_options(run, corpus, tmp_path):
    for options, same in (([], True), (["--seed", "1"], False), (["--negatives", "4"], False)):
        out = tmp_path / f"run{len(options)}{options[-1:]}"
        assert train(corpus, out, "--steps", "12", "--quiet", *options) == 0
        assert ((out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()) is same


def test_a_tokenizer_of_words_may_be_given(run, corpus, tmp_path):
    assert train(corpus, tmp_path / "again", "--steps", "3", "--tokenizer", str(run), "--quiet") == 0
    assert (tmp_path / "again" / "words.json").read_bytes() == (run / "words.json").read_bytes()


REFUSED = {
    "a context": (["--n-ctx", "64"], "--n-ctx is for --model gpt or"),
    "layers": (["--n-layer", "2"], "word2vec has no use for it"),
    "window 0": (["--window", "0"], "window is 0; expected 1 or more"),
    "negatives 0": (["--negatives", "0"], "negatives is 0; expected 1 or more"),
    "subsample": (["--subsample", "-1"], "subsample is -1.0; expected 0 or more"),
    "min_count 0": (["--min-count", "0"], "min_count is 0; expected at least 1"),
    "min_count too high": (["--min-count", "99999"], "no word of the text occurs 99999 times"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused_on_one_line(corpus, tmp_path, options, says, capsys):
    assert train(corpus, tmp_path / "run", *options) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not (tmp_path / "run").exists()


def test_options_of_word2vec_are_for_word2vec(corpus, tmp_path, capsys):
    assert main(["train", "--data", corpus, "--out", str(tmp_path / "run"), "--negatives", "3"]) == 2
    assert "--negatives is for --model word2vec; gpt has no use for it" in capsys.readouterr().err


def test_a_tokenizer_of_pieces_is_refused(corpus, tmp_path, capsys):
    BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262).save(tmp_path / "pieces")
    assert train(corpus, tmp_path / "run", "--tokenizer", str(tmp_path / "pieces")) == 2
    assert "reads whole words" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["sample", "--prompt", "a"], ["generate", "--text", "a"]])
def test_commands_for_other_families_say_so(run, command, capsys):
    assert main([command[0], str(run), *command[1:]]) == 2
    captured = capsys.readouterr()
    assert "word2vec" in captured.err.lower() and captured.err.count("\n") == 1
