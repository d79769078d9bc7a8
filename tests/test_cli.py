"""The command line: what each command prints, and one line on stderr for everything that goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest

from scratchgpt import __version__, interop
from scratchgpt.checkpoint import STATE_FILE, load_state
from scratchgpt.cli import main
from scratchgpt.data import load_text, split_text
from scratchgpt.evaluation import evaluate
from scratchgpt.models.gpt import PRESETS
from scratchgpt.run import RunConfig, config_from
from scratchgpt.tokenizers import BPETokenizer

TINY = ["--vocab-size", "300", "--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--n-ctx", "32",
        "--batch-size", "4", "--warmup-steps", "2", "--checkpoint-every", "10", "--eval-every", "10"]  # fmt: skip


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "scene.txt"
    path.write_text(load_text("plays")[:30_000], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, text_file):
    """A finished run of 30 steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(text_file), "--out", str(out), "--steps", "30", "--quiet", *TINY]) == 0
    return out


def said(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    """The one line of stderr of a command that must exit 2."""
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("scratchgpt: ") and err.endswith("\n") and err.count("\n") == 1
    return err


def process(*arguments, **options):
    command = [sys.executable, "-m", "scratchgpt.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


# ---- help


def test_no_arguments_print_the_commands(capsys):
    code, out, _ = said(capsys)
    assert code == 0
    assert all(name in out for name in ("train", "eval", "sample", "tokenizer", "params", "doctor", "bench"))


def test_help_explains_every_option_of_train_in_groups(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for each in fields(RunConfig):
        assert f"--{each.name.replace('_', '-')} " in out and each.metadata["help"].split()[0] in out
    places = [out.index(f"\n{group}:\n") for group in ("data", "model", "optimisation", "run")]
    assert places == sorted(places)
    for option in ("--resume", "--force"):
        assert option in out


@pytest.mark.parametrize("command", [["eval"], ["sample"], ["tokenizer"], ["tokenizer", "train"], ["params"]])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: scratchgpt" in capsys.readouterr().out


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"scratchgpt {__version__}\n")


def test_the_command_line_imports_neither_torch_nor_matplotlib_until_needed():
    code = (
        "import sys; from scratchgpt.cli import main; main(['params']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


# ---- what the commands do


def test_train_prints_progress_a_table_a_sentence_and_a_sample(capsys, tmp_path, text_file):
    code, out, err = said(capsys, "train", "--data", text_file, "--out", tmp_path / "run", "--steps", 12, *TINY)
    assert (code, err) == (0, "")
    assert "step 12/12  loss" in out and "tokens/s" in out and "MFU" in out
    for word in ("nats per token", "bits per byte", "perplexity", "parameters", "training time", "A sample of it"):
        assert word in out
    assert "uniform guess over the vocabulary" in out or "token frequencies" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "metrics.jsonl", "loss.png", STATE_FILE} <= names


def test_eval_reads_the_whole_held_out_tenth(capsys, run_dir, text_file, tmp_path):
    validation = split_text(load_text(text_file))[1]
    (tmp_path / "last.txt").write_bytes(validation.encode())
    code, own, _ = said(capsys, "eval", run_dir)
    _, split, _ = said(capsys, "eval", run_dir, "--data", text_file, "--split", "validation")
    _, file, _ = said(capsys, "eval", run_dir, "--data", tmp_path / "last.txt")
    assert code == 0
    assert own.splitlines()[1:] == split.splitlines()[1:] == file.splitlines()[1:]
    model, tokenizer = interop.load(run_dir), interop.load_tokenizer(run_dir)
    result = evaluate(model, tokenizer.encode(validation), len(validation.encode()))
    assert f"{result.bits_per_byte:.4f}" in own and f"{result.tokens:,}" in own
    last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    # the file's weights are the trained ones, so only the order of float32 sums may differ
    assert last["bits_per_byte"] == pytest.approx(result.bits_per_byte, rel=1e-5)


def test_eval_asks_for_data_where_no_run_names_it(capsys, run_dir, tmp_path):
    plain = copied(run_dir, tmp_path / "plain")
    (plain / STATE_FILE).unlink()
    assert "give --data FILE" in refused(capsys, "eval", plain)


def test_sample_is_the_same_with_and_without_the_cache_and_slides_once(capsys, run_dir):
    settings = ("sample", run_dir, "--prompt", "HELENA\n", "--max-tokens", 80, "--seed", 3)
    code, with_cache, err = said(capsys, *settings)
    assert code == 0 and with_cache.startswith("HELENA\n") and err.count("slides") == 1
    assert said(capsys, *settings, "--no-cache")[1] == with_cache
    assert said(capsys, *settings)[1] == with_cache
    assert said(capsys, *settings[:-1], 4)[1] != with_cache
    greedy = said(capsys, *settings, "--greedy")
    assert greedy == said(capsys, *settings, "--temperature", 0) == said(capsys, *settings, "--top-k", 1)


def test_tokenizer_trains_encodes_and_decodes(capsys, tmp_path, text_file):
    out = tmp_path / "tokenizer"
    code, printed, _ = said(capsys, "tokenizer", "train", "--data", text_file, "--vocab-size", 290, "--out", out)
    assert code == 0 and "290 tokens" in printed
    text = "Enter PUCK, größer 🎭"
    _, ids, _ = said(capsys, "tokenizer", "encode", out, "--text", text)
    assert [int(word) for word in ids.split()] == interop.load_tokenizer(out).encode(text)
    assert said(capsys, "tokenizer", "decode", out, *ids.split()) == (0, text, "")
    assert "already holds" in refused(capsys, "tokenizer", "train", "--data", text_file, "--out", out)
    assert "is not a token id" in refused(capsys, "tokenizer", "decode", out, "12", "x")
    assert "out of range" in refused(capsys, "tokenizer", "decode", out, "290")
    piped = process("tokenizer", "encode", out, stdin=subprocess.PIPE)
    assert piped.communicate(text)[0] == ids


def test_tokenizer_reads_files_in_blocks_with_the_same_merges_and_ids(capsys, tmp_path):
    """The file is longer than a block, and its last byte may be what is wrong with it."""
    corpus = tmp_path / "corpus.txt"
    text = load_text("plays") * 2
    corpus.write_bytes(text.encode())
    for processes in (1, 2):
        out = tmp_path / str(processes)
        options = ("--vocab-size", 300, "--processes", processes, "--out", out)
        assert said(capsys, "tokenizer", "train", "--data", corpus, *options)[0] == 0
    tokenizer = interop.load_tokenizer(out)
    whole = BPETokenizer.train(text, 300)
    assert tokenizer.merges == interop.load_tokenizer(tmp_path / "1").merges == whole.merges
    _, ids, _ = said(capsys, "tokenizer", "encode", out, "--data", corpus)
    assert [int(word) for word in ids.split()] == tokenizer.encode(text)
    with open(corpus, "ab") as file:
        file.write(b"\xff")
    assert f"byte {corpus.stat().st_size - 1}" in refused(capsys, "tokenizer", "encode", out, "--data", corpus)


def test_a_trained_tokenizer_can_be_given_to_train(tmp_path, text_file, run_dir):
    out = tmp_path / "run"
    tiny = [*TINY[2:], "--tokenizer", str(run_dir), "--steps", "2", "--quiet"]
    assert main(["train", "--data", str(text_file), "--out", str(out), *tiny]) == 0
    assert interop.load_tokenizer(out).digest() == interop.load_tokenizer(run_dir).digest()


def test_params_counts_gpt3_without_allocating(capsys):
    code, out, _ = said(capsys, "params", "--preset", "gpt3")
    assert code == 0 and "174,604,259,328" in out and "698.42 GB" in out and "2.79 TB" in out
    _, every, _ = said(capsys, "params")
    assert "124,439,808" in every and "116,534,784" in every and "…" not in every
    for name, total in (("bert-large", "336,226,108"), ("t5-11b", "11,307,321,344")):  # the other families
        assert total in every and total in said(capsys, "params", "--preset", name)[1]


def test_params_says_what_a_token_takes_of_a_mixture_of_experts(capsys):
    code, out, _ = said(capsys, "params", "--preset", "mixtral-8x7b")
    assert code == 0 and "46,702,792,704" in out and "12,879,925,248" in out and "active" in out
    assert "active" not in said(capsys, "params", "--preset", "llama-7b")[1]


def test_a_preset_sets_the_shape_and_options_change_it():
    config = config_from({"preset": "gpt2", "n_layer": 2})
    assert (config.n_layer, config.n_head, config.n_embd, config.n_ctx) == (2, 12, 768, 1024)
    assert config.dropout == PRESETS["gpt2"].dropout
    assert config.vocab_size == RunConfig().vocab_size


# ---- bad input: one line, exit 2, nothing written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "x"], "invalid int value"),
        (["--stepz", "3"], "unrecognized arguments: --stepz 3; see scratchgpt train --help"),
        (["--preset", "gpt9"], "invalid choice"),
        (["--steps", "0"], "steps is 0"),
        (["--n-head", "3"], "not divisible"),
        (["--vocab-size", "256"], "below 257"),
        (["--vocab-size", "9000"], "cannot be reached"),
        (["--n-ctx", "90000"], "shorter than one context"),
        (["--dropout", "1"], "dropout is 1"),
        (["--lr", "nan"], "lr is nan"),
        (["--resume", "there", "--force"], "one of them"),
        (["--tokenizer", "nowhere"], "nowhere"),
    ],
)
def test_train_refuses_bad_options_and_writes_nothing(capsys, tmp_path, text_file, options, message):
    out = tmp_path / "run"
    assert message in refused(capsys, "train", "--data", text_file, "--out", out, *TINY, *options)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is empty"), (b"ab\x00c", "byte 2 is NUL"), (b"ab\xff", "byte 2 is 0xff")],
)
def test_train_and_eval_refuse_bad_data(capsys, tmp_path, run_dir, content, message):
    path, out = tmp_path / "data.txt", tmp_path / "run"
    if content is not None:
        path.write_bytes(content)
    assert message in refused(capsys, "train", "--data", path, "--out", out)
    assert message in refused(capsys, "eval", run_dir, "--data", path)
    assert not out.exists()


def test_a_missing_device_says_what_to_install(capsys, tmp_path, text_file):
    try:
        import cupy

        if cupy.is_available():
            pytest.skip("there is a CUDA device here")
    except ImportError:
        pass
    out = tmp_path / "run"
    line = refused(capsys, "train", "--data", text_file, "--out", out, "--device", "cuda", *TINY)
    assert "CuPy" in line and not out.exists()


def test_another_run_is_kept_unless_forced(capsys, run_dir, text_file):
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    line = refused(capsys, "train", "--data", text_file, "--out", run_dir, *TINY)
    assert "already holds a run" in line and "--force" in line
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


def test_a_model_larger_than_memory_is_refused(capsys, tmp_path, text_file):
    line = refused(capsys, "train", "--data", text_file, "--out", tmp_path / "run", "--preset", "gpt3")
    assert "GiB" in line and not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_made_is_refused(capsys, tmp_path, text_file):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert "file" in refused(capsys, "train", "--data", text_file, "--out", out, *TINY)


def test_sample_refuses_empty_and_long_prompts_and_bad_settings(capsys, run_dir):
    assert "empty" in refused(capsys, "sample", run_dir, "--prompt", "")
    assert "context" in refused(capsys, "sample", run_dir, "--prompt", "word " * 50)
    assert "required" in refused(capsys, "sample", run_dir)
    assert "top_p" in refused(capsys, "sample", run_dir, "--prompt", "a", "--top-p", "2")
    assert "seed" in refused(capsys, "sample", run_dir, "--prompt", "a", "--seed", "-1")
    assert "directory" in refused(capsys, "sample", run_dir / "nowhere", "--prompt", "a")


def copied(run_dir, to):
    to.mkdir()
    for path in run_dir.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_resume_refuses_damaged_foreign_and_missing_states(capsys, run_dir, text_file, tmp_path):
    run = copied(run_dir, tmp_path / "run")
    good = (run / STATE_FILE).read_bytes()
    (run / STATE_FILE).write_bytes(good[:-1])
    assert STATE_FILE in refused(capsys, "train", "--resume", run)
    (run / STATE_FILE).write_bytes(good[:-9] + bytes([good[-9] ^ 4]) + good[-8:])
    assert "SHA-256" in refused(capsys, "train", "--resume", run)
    (run / STATE_FILE).unlink()
    assert "does not exist" in refused(capsys, "train", "--resume", run)
    other = tmp_path / "other"
    assert main(["train", "--data", str(text_file), "--out", str(other), "--steps", "2", "--quiet", *TINY,
                 "--vocab-size", "310"]) == 0  # fmt: skip
    (run / STATE_FILE).write_bytes((other / STATE_FILE).read_bytes())
    assert "another model" in refused(capsys, "train", "--resume", run)
    for path in other.iterdir():
        if path.name in ("tokenizer.json", "vocab.json", "merges.txt"):
            path.write_bytes((run / path.name).read_bytes())
    assert "another tokenizer" in refused(capsys, "train", "--resume", other)


def test_resume_refuses_options_that_would_change_the_run(capsys, run_dir):
    assert "--lr is 0.5, but the run" in refused(capsys, "train", "--resume", run_dir, "--lr", "0.5")
    assert "already at step 30" in refused(capsys, "train", "--resume", run_dir, "--steps", "10")


def test_resume_accepts_what_the_run_was_started_with(run_dir, text_file, tmp_path, monkeypatch):
    run = copied(run_dir, tmp_path / "run")
    monkeypatch.chdir(text_file.parent)
    same = ["--data", text_file.name, "--out", f"{run}/", *TINY]
    assert main(["train", "--resume", str(run), "--steps", "30", "--quiet", *same]) == 0


def test_resume_refuses_a_changed_text(capsys, tmp_path, text_file):
    data, out = tmp_path / "data.txt", tmp_path / "run"
    data.write_bytes(text_file.read_bytes())
    assert main(["train", "--data", str(data), "--out", str(out), "--steps", "2", "--quiet", *TINY]) == 0
    data.write_bytes(text_file.read_bytes().replace(b"HELENA", b"HERMIA"))
    assert "another text" in refused(capsys, "train", "--resume", out)
    data.rename(tmp_path / "moved.txt")
    assert "does not exist" in refused(capsys, "train", "--resume", out)
    assert "another text" in refused(capsys, "train", "--resume", out, "--data", tmp_path / "moved.txt")


def test_resume_takes_the_data_from_where_it_has_moved(tmp_path, text_file):
    data, out = tmp_path / "data.txt", tmp_path / "run"
    data.write_bytes(text_file.read_bytes())
    assert main(["train", "--data", str(data), "--out", str(out), "--steps", "2", "--quiet", *TINY]) == 0
    moved = data.rename(tmp_path / "moved.txt")
    resume = ["train", "--resume", str(out), "--quiet"]
    assert main([*resume, "--data", str(moved), "--steps", "3"]) == 0
    assert main([*resume, "--steps", "4"]) == 0


# ---- what stops a run


def test_resume_after_ctrl_c_and_kill_ends_with_the_same_bits(tmp_path, text_file):
    def arguments(out):
        return ["train", "--data", text_file, "--out", out, "--steps", 300, "--quiet", *TINY]

    # in processes of their own, all of them: where NumPy came first, BLAS kernels may be others, and so the bits
    assert process(*arguments(tmp_path / "whole")).communicate() == ("", "")
    expected = load_state(tmp_path / "whole").arrays
    out = tmp_path / "stopped"
    running = process(*arguments(out))
    wait_for_step(out, 10, running)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 130
    assert f"to resume: scratchgpt train --resume {out}" in err and err.count("\n") == 1
    step = load_state(out).step
    running = process("train", "--resume", out, "--quiet")
    wait_for_step(out, step + 25, running)  # past the next checkpoint, which comes every 10 steps
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert step < load_state(out).step < 300
    assert process("train", "--resume", out, "--quiet").communicate() == ("", "")
    for name, array in load_state(out).arrays.items():
        assert array.tobytes() == expected[name].tobytes()
    np.testing.assert_array_equal(interop.load(out).params.data, interop.load(tmp_path / "whole").params.data)


def wait_for_step(out, step, running):
    """Until the run in `out` has logged `step`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()
        path = out / "metrics.jsonl"
        if path.exists() and any(json.loads(line)["step"] >= step for line in path.read_text().split("\n")[:-1]):
            return
        time.sleep(0.005)
    pytest.fail(f"step {step} was not reached in a minute")


def test_ctrl_c_before_training_exits_130_with_one_line(capsys, monkeypatch, tmp_path, text_file):
    from scratchgpt.tokenizers import BPETokenizer

    def interrupted(text, vocab_size):
        raise KeyboardInterrupt

    monkeypatch.setattr(BPETokenizer, "train", interrupted)
    code, _, err = said(capsys, "train", "--data", text_file, "--out", tmp_path / "run", *TINY)
    assert code == 130 and "nothing was saved" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_step_that_is_not_finite_exits_1_with_one_line(tmp_path, text_file):
    options = ["--lr", "1e30", "--warmup-steps", "0", "--grad-clip", "0", "--steps", "9", "--quiet"]
    running = process("train", "--data", text_file, "--out", tmp_path / "run", *TINY, *options)
    _, err = running.communicate()
    assert running.returncode == 1
    assert err.startswith("scratchgpt: step ") and err.count("\n") == 1 and "last good checkpoint" in err
    assert np.isfinite(load_state(tmp_path / "run").arrays["weights"]).all()


def test_a_full_disk_exits_1_with_one_line_and_the_run_resumes(tmp_path, text_file):
    resource = pytest.importorskip("resource")
    out = tmp_path / "run"
    assert main(["train", "--data", str(text_file), "--out", str(out), "--steps", "10", "--quiet", *TINY]) == 0
    good = (out / STATE_FILE).read_bytes()

    def limit():  # the state, three times the weights, no longer fits; every other file does
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) * 3 // 4, resource.RLIM_INFINITY))

    running = process("train", "--resume", out, "--steps", 20, "--quiet", preexec_fn=limit)
    _, err = running.communicate()
    assert running.returncode == 1
    assert "cannot write" in err and "checkpoint, step 10, is untouched" in err and err.count("\n") == 1
    assert (out / STATE_FILE).read_bytes() == good
    assert main(["train", "--resume", str(out), "--steps", "20", "--quiet"]) == 0
    assert load_state(out).step == 20


@pytest.mark.parametrize("command", [["train", "--out"], ["train", "--resume"], ["eval"], ["tokenizer", "decode"]])
def test_a_name_that_no_file_can_have_is_bad_input(capsys, command):
    assert refused(capsys, *command, "a" * 300)


def test_an_id_of_thousands_of_digits_is_bad_input(capsys, run_dir):
    assert "is not a token id" in refused(capsys, "tokenizer", "decode", run_dir, "9" * 5000)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_output_to_a_full_disk_is_no_traceback():
    command = [sys.executable, "-m", "scratchgpt.cli", "params"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "space" in result.stderr


def test_a_terminal_that_lacks_a_character_shows_another(run_dir):
    printed = process(
        "sample", run_dir, "--prompt", "é", "--max-tokens", 2, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    out, err = printed.communicate()
    assert printed.returncode == 0 and out.startswith("?") and err == ""


def test_a_closed_pipe_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "scratchgpt.cli", "params"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert result.returncode == 141 and result.stderr == ""
