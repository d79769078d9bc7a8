"""Training: it learns, it repeats, it resumes bit for bit whatever stopped it, and it says why it stopped."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt import run
from scratchgpt.checkpoint import STATE_FILE, load_state
from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.evaluation import evaluate
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.plot import draw_loss, smoothed, spread
from scratchgpt.progress import Progress, clock
from scratchgpt.train import (
    METRICS_FILE,
    Interrupted,
    SaveError,
    TrainConfig,
    Trainer,
    first_non_finite,
    matmul_flops_per_second,
    read_metrics,
)

CONFIG = GPTConfig(vocab_size=11, n_ctx=8, n_layer=2, n_head=2, n_embd=8)
SHORT = TrainConfig(steps=12, batch_size=4, warmup_steps=2, checkpoint_every=3, eval_every=4, log_every=2, threads=2)


def walk(n=900, seed=0):
    """Token ids that a model can learn to predict: a random walk of small steps modulo 11."""
    return np.cumsum(np.random.default_rng(seed).integers(0, 3, n)) % 11


def trainer(config=SHORT, model=CONFIG, dtype="float32", ids=None, **options):
    ids = walk() if ids is None else ids
    return Trainer(GPT(model, seed=1, dtype=dtype), None, ids[:-90], ids[-90:], config, quiet=True, **options)


def replaced(config, **changes):
    return TrainConfig(**vars(config) | changes)


def bits(trained):
    return b"".join(array.tobytes() for array in (trained.model.params.data, trained.optimizer.m, trained.optimizer.v))


def test_training_lowers_the_loss_below_the_unigram_line_and_leaves_a_run(tmp_path):
    run = trainer(replaced(SHORT, steps=120, lr=1e-2, eval_every=40), out=tmp_path / "run")
    result = run.run()
    assert result.nats_per_token < run.lines["unigram"] < math.log(11) + 1e-9
    assert result.perplexity == pytest.approx(math.exp(result.nats_per_token))
    names = {STATE_FILE, METRICS_FILE, "loss.png", "config.json", "model.safetensors"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    records = [json.loads(line) for line in (tmp_path / "run" / METRICS_FILE).read_text().splitlines()]
    assert [record["step"] for record in records if "val_loss" in record] == [40, 80, 120]
    assert records[-1]["val_loss"] == result.nats_per_token and records[-1]["whole"]
    logged = [record for record in records if "loss" in record]
    assert {"step", "tokens", "loss", "lr", "grad_norm", "tokens_per_s", "mfu"} <= set(logged[0])
    assert logged[-1]["tokens"] == 120 * 4 * 8


def test_a_gpt_is_trained_from_python_in_a_dozen_lines(tmp_path):
    import scratchgpt as sg
    from scratchgpt.data import load_text, split_text

    train_text, val_text = split_text(load_text("plays")[:20_000])
    tokenizer = sg.BPETokenizer.train(train_text, vocab_size=280)
    model = sg.GPT(sg.GPTConfig(vocab_size=280, n_ctx=32, n_layer=1, n_head=2, n_embd=16), seed=0)
    config = sg.TrainConfig(steps=4, batch_size=4)
    ids = tokenizer.encode(train_text), tokenizer.encode(val_text)
    trainer = sg.Trainer(model, tokenizer, *ids, config, out=tmp_path / "run")
    result = trainer.run()
    assert result.bits_per_byte > 0 and result.n_bytes == len(val_text.encode())

    again, same = sg.load(tmp_path / "run"), sg.load_tokenizer(tmp_path / "run")
    prompt = tokenizer.encode("HELENA")
    assert list(sg.generate(again, prompt, 9)) == list(sg.generate(model, same.encode("HELENA"), 9))


def test_same_seed_and_threads_give_the_same_bits():
    first, second = trainer(), trainer()
    first.run(), second.run()
    assert bits(first) == bits(second)
    other = trainer(replaced(SHORT, seed=1))
    other.run()
    assert bits(other) != bits(first)


def test_accumulated_steps_equal_full_batches():
    full = trainer(replaced(SHORT, batch_size=6), dtype="float64")
    parts = trainer(replaced(SHORT, batch_size=2, accumulate=3), dtype="float64")
    full.run(), parts.run()
    # float64 sums in another order, through 12 updates in which Adam divides by sqrt(v): 1e-9 is far above rounding
    # and far below what one update changes (lr = 2e-3)
    np.testing.assert_allclose(parts.model.params.data, full.model.params.data, rtol=0, atol=1e-9)


def test_resume_continues_bit_for_bit_with_dropout_and_accumulation(tmp_path):
    model = GPTConfig(**vars(CONFIG) | {"dropout": 0.2})
    config = replaced(SHORT, accumulate=2, checkpoint_every=5)
    whole = trainer(config, model)
    whole.run()
    stopped = trainer(config, model, out=tmp_path)
    for _ in range(7):
        stopped.step()
    stopped.save()
    resumed = trainer(config, model, out=tmp_path, resume=load_state(tmp_path))
    assert resumed.done == 7
    resumed.run()
    assert bits(resumed) == bits(whole)


def test_a_run_on_the_device_double_equals_numpy_and_resumes(tmp_path):
    import strict_device

    from scratchgpt.ops import table

    def on(xp, out, resume=None):
        model = GPT(CONFIG, seed=1, xp=xp, ops=table("reference"))
        ids, config = walk(), replaced(SHORT, steps=4, checkpoint_every=2, eval_every=2, threads=1)
        return Trainer(model, None, ids[:-90], ids[-90:], config, out=out, resume=resume, quiet=True)

    host, device = on(np, None), on(strict_device, tmp_path)
    assert device.run() == host.run()
    assert load_state(tmp_path).arrays["weights"].tobytes() == host.model.params.data.tobytes()
    again = on(strict_device, tmp_path, resume=load_state(tmp_path))
    assert again.done == 4 and again.run() == host.run()


def test_resume_drops_the_metrics_after_the_checkpoint_and_a_torn_line(tmp_path):
    run = trainer(out=tmp_path)
    run.run()
    complete = (tmp_path / METRICS_FILE).read_text()
    state = load_state(tmp_path)
    half = trainer(replaced(SHORT, steps=12), out=tmp_path / "half")
    half._start()
    for _ in range(6):
        half.step()
    half.save()
    (tmp_path / "half" / METRICS_FILE).write_text(complete + '{"step": 14, "lo')
    resumed = trainer(out=tmp_path / "half", resume=load_state(tmp_path / "half"))
    assert [record["step"] for record in resumed.history] == [1, 2, 4, 6]
    resumed.run()
    assert load_state(tmp_path / "half").arrays["weights"].tobytes() == state.arrays["weights"].tobytes()

    def without_speed(text):
        records = [json.loads(line) for line in text.split("\n")[:-1]]
        return [{key: record[key] for key in record.keys() - {"tokens_per_s", "mfu"}} for record in records]

    assert without_speed((tmp_path / "half" / METRICS_FILE).read_text()) == without_speed(complete)


@pytest.mark.parametrize("line", [b"7", b"[]", b'{"loss": 1}', b'{"step": null}', b"\xff", b"\0\0\0"])
def test_resume_reads_the_metrics_up_to_a_line_that_is_none(tmp_path, line):
    path = tmp_path / METRICS_FILE
    path.write_bytes(b'{"step": 2}\n' + line + b'\n{"step": 3}\n')
    assert read_metrics(path, 9) == [{"step": 2}]


def test_resume_keeps_the_number_of_threads_unless_told(tmp_path):
    trainer(replaced(SHORT, threads=3), out=tmp_path).save()
    unsaid = replaced(SHORT, threads=None)
    assert trainer(unsaid, out=tmp_path, resume=load_state(tmp_path)).threads == 3
    assert trainer(replaced(SHORT, threads=1), out=tmp_path, resume=load_state(tmp_path)).threads == 1


def test_a_finished_run_resumes_to_the_same_result(tmp_path):
    run = trainer(out=tmp_path)
    result = run.run()
    again = trainer(out=tmp_path, resume=load_state(tmp_path))
    assert again.run() == result
    assert again.history == run.history


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, "seed"),
        ({"batch_size": 2}, "batch_size"),
    ],
)
def test_resume_refuses_what_would_change_the_data_order(tmp_path, changes, message):
    run = trainer(out=tmp_path)
    run.save()
    with pytest.raises(InputError, match=message):
        trainer(replaced(SHORT, **changes), out=tmp_path, resume=load_state(tmp_path))


def test_resume_refuses_another_text_and_another_model(tmp_path):
    trainer(out=tmp_path).save()
    state = load_state(tmp_path)
    with pytest.raises(InputError, match="another text"):
        trainer(ids=walk(seed=3), out=tmp_path, resume=state)
    with pytest.raises(InputError, match="another model"):
        trainer(model=GPTConfig(**vars(CONFIG) | {"n_head": 1}), out=tmp_path, resume=state)


def test_a_directory_with_another_run_is_refused_unless_forced(tmp_path):
    trainer(out=tmp_path).run()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="already holds a run"):
        trainer(out=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "notes.txt").write_text("mine")
    forced = trainer(replaced(SHORT, seed=4), out=tmp_path, force=True)
    assert (tmp_path / STATE_FILE).read_bytes() == before[tmp_path / STATE_FILE]  # nothing is touched before run()
    forced.run()
    assert load_state(tmp_path).record["config"]["seed"] == 4
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        trainer(out=tmp_path / "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("batch_size", -1), ("lr", 0.0), ("lr", math.nan), ("min_lr", 1.0), ("seed", -1), ("threads", 0),
     ("grad_clip", -1.0), ("weight_decay", math.inf), ("warmup_steps", -1), ("accumulate", 0)],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        TrainConfig(**{field: value})


def test_ids_out_of_range_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="id 11 at position 3"):
        Trainer(GPT(CONFIG), None, [1, 2, 3, 11] * 9, [1, 2], SHORT, out=tmp_path / "run")
    with pytest.raises(InputError, match="validation"):
        Trainer(GPT(CONFIG), None, [1, 2, 3, 4] * 9, [1], SHORT, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- stopping


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow is what this test is about
def test_an_infinite_step_names_its_op_and_changes_nothing(tmp_path):
    run = trainer(replaced(SHORT, lr=1e30, warmup_steps=0, grad_clip=0.0, threads=1, checkpoint_every=1), out=tmp_path)
    with pytest.raises(NonFiniteError, match=r"step \d+: .*ward in .*last good checkpoint.*step \d+") as stop:
        run.run()
    assert run.done == run.saved
    np.testing.assert_array_equal(load_state(tmp_path).arrays["weights"], run.model.params.data)
    assert np.isfinite(run.model.params.data).all() and np.isfinite(run.optimizer.v).all()
    assert f"step {run.done + 1}" in str(stop.value) and "\n" not in str(stop.value)


def test_the_first_op_that_gives_nan_is_named():
    run = trainer()
    gelu_backward = run.model.ops.gelu_backward

    def broken(dout, cache):
        dx = gelu_backward(dout, cache)
        dx[..., 0] = np.nan
        return dx

    run.model.ops = run.model.ops.replace(gelu_backward=broken)
    before = bits(run)
    with pytest.raises(NonFiniteError, match=r"step 1: .*gelu_backward in blocks\.1.*nothing was saved"):
        run.step()
    assert bits(run) == before


def test_a_last_update_that_breaks_the_weights_is_not_saved(tmp_path):
    run = trainer(replaced(SHORT, steps=1, lr=1e39, warmup_steps=0), out=tmp_path)  # 1e39 is infinite in float32
    with pytest.raises(NonFiniteError, match=r"step 1: the update made a weight .*last good checkpoint.*step 0"):
        run.run()
    assert load_state(tmp_path).step == 0 and np.isfinite(load_state(tmp_path).arrays["weights"]).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path):
    run = trainer(replaced(SHORT, steps=1, lr=1e30, warmup_steps=0), out=tmp_path)  # finite weights, infinite logits
    with pytest.raises(NonFiniteError, match="step 1: the loss on the validation text is"):
        run.run()


def test_a_weight_that_is_not_finite_is_named():
    run = trainer()
    run.model.params["blocks.1.mlp.up.weight"][0, 0] = np.nan
    assert "blocks.1.mlp.up.weight" in first_non_finite(run.model, run.data.at(run.done), 0, 0)


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    whole = trainer()
    whole.run()
    run = trainer(out=tmp_path)
    step = run.step

    def step_and_press():
        if run.done == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step()

    run.step = step_and_press
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"step 5, which is saved; .*--resume") as stop:
        run.run()
    assert stop.value.signum == signal.SIGINT and signal.getsignal(signal.SIGINT) is before
    resumed = trainer(out=tmp_path, resume=load_state(tmp_path))
    assert resumed.done == 5
    resumed.run()
    assert bits(resumed) == bits(whole)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    resource = pytest.importorskip("resource")
    run = trainer(out=tmp_path)
    run._start()
    for _ in range(3):
        run.step()
    run.save()
    good = (tmp_path / STATE_FILE).read_bytes()
    run.step()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) // 2, limits[1]))  # no file may grow beyond half a checkpoint
    try:
        with pytest.raises(SaveError, match=r"cannot write .*checkpoint, step 3, is untouched.*--resume") as stop:
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(stop.value)
    assert (tmp_path / STATE_FILE).read_bytes() == good
    assert load_state(tmp_path).step == 3
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


# A run in a process of its own that may die at its n-th file operation, or be killed from outside at any moment.
PROCESS = """
import os, signal, sys
from pathlib import Path
import numpy as np
from scratchgpt.checkpoint import STATE_FILE, load_state
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.train import TrainConfig, Trainer

out, die_at, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
operations = 0

def dying(function):
    def call(*args, **kwargs):
        global operations
        operations += 1
        if operations == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

os.fsync, os.replace, os.chmod = dying(os.fsync), dying(os.replace), dying(os.chmod)
ids = np.cumsum(np.random.default_rng(0).integers(0, 3, 900)) % 11
config = TrainConfig(steps=steps, batch_size=4, warmup_steps=2, checkpoint_every=2, eval_every=7, threads=2)
model = GPT(GPTConfig(vocab_size=11, n_ctx=8, n_layer=2, n_head=2, n_embd=8, dropout=0.1), seed=1)
state = load_state(out) if (out / STATE_FILE).exists() else None
trainer = Trainer(model, None, ids[:-90], ids[-90:], config, out=out, resume=state, force=state is None, quiet=True)
trainer.draw = lambda: None  # the picture takes longer than the run
trainer.run()
print(operations)
"""


def start(out, die_at=0, steps=8):
    command = [sys.executable, "-c", PROCESS, str(out), str(die_at), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(out, steps=8):
    process = start(out, steps=steps)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return int(said)


def modified(out):
    return (out / STATE_FILE).stat().st_mtime_ns if (out / STATE_FILE).exists() else 0


def final(out):
    state = load_state(out)
    return state.step, {name: array.tobytes() for name, array in state.arrays.items()}


def test_resume_after_a_kill_at_any_file_operation_continues_bit_for_bit(tmp_path):
    operations = finish(tmp_path / "whole")
    expected = final(tmp_path / "whole")
    weights = (tmp_path / "whole" / "model.safetensors").read_bytes()
    # every operation on the first file, then all kinds of operations on all kinds of files (12 in a checkpoint)
    for die_at in [1, 2, 3, 4, *range(5, operations, 7)]:
        out = tmp_path / f"killed-{die_at}"
        process = start(out, die_at)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        finish(out)
        assert final(out) == expected
        assert (out / "model.safetensors").read_bytes() == weights


def test_resume_after_kills_at_random_moments_continues_bit_for_bit(tmp_path):
    steps = 120  # 60 checkpoints
    finish(tmp_path / "whole", steps)
    rng, out, kills = random.Random(7), tmp_path / "killed", 0
    while True:
        process = start(out, steps=steps)
        saves, seen = rng.randint(1, 25), {modified(out)}
        while process.poll() is None and len(seen) <= saves:  # it lives through so many saves
            seen.add(modified(out))
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 1
    assert final(out) == final(tmp_path / "whole")


# ---- what is measured and drawn


@given(st.integers(2, 40), st.integers(0, 5))
def test_evaluation_equals_one_prediction_at_a_time(n, seed):
    model = GPT(GPTConfig(vocab_size=7, n_ctx=6, n_layer=1, n_head=1, n_embd=4), seed=seed, dtype="float64")
    ids = np.random.default_rng(seed).integers(0, 7, n)
    width = min(n, 7)
    starts = [*range(0, n - width, 3), n - width]
    total, done = 0.0, 0  # tokens predicted so far; token 0 is not
    for place in starts:
        logits = model.logits({"input_ids": ids[None, place : place + width - 1]})[0]
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for target in range(max(1, done + 1), place + width):
            total -= log_probs[target - place - 1, ids[target]]
            done = target
    result = evaluate(model, ids, n_bytes=3 * n, threads=2)
    assert result.tokens == n - 1
    # float64 sums of at most 40 terms in two orders
    assert result.nats_per_token == pytest.approx(total / (n - 1), rel=1e-12)
    assert result.bits_per_byte == pytest.approx(total / math.log(2) / (3 * n), rel=1e-12)


def test_evaluation_does_not_depend_on_threads_and_refuses_foreign_ids():
    model, ids = GPT(CONFIG, seed=2), walk(3000)
    assert evaluate(model, ids, threads=1) == evaluate(model, ids, threads=2)
    assert evaluate(model, ids, 3000, max_windows=5).bits_per_byte is None
    with pytest.raises(InputError, match="out of range"):
        evaluate(model, [1, 2, 12])


def test_the_picture_is_a_png_even_of_one_step(tmp_path):
    lines = {"uniform": 2.4, "unigram": 2.4, "bigram": 1.1, "trigram": 1.0}
    for history in ([], [{"step": 1, "loss": 2.4}], [{"step": s, "loss": 2.4, "val_loss": 2.0} for s in range(1, 90)]):
        draw_loss(tmp_path / "loss.png", history, lines, "a run")
        assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG\r\n")


@given(st.lists(st.floats(0, 10), max_size=6))
def test_labels_are_spread_in_order_and_apart(values):
    places = spread(values, 0.5)
    ordered = [place for _, place in sorted(zip(values, places))]
    # 0.5 - 1e-9: sums of a few floats below 10 round by far less
    assert all(b - a >= 0.5 - 1e-9 for a, b in pairwise(ordered))


def test_smoothing_keeps_straight_lines_and_both_ends():
    line = [float(i) for i in range(200)]
    assert smoothed(line) == pytest.approx(line)
    noisy = [line[i] + (-1) ** i for i in range(200)]
    assert smoothed(noisy)[0] == noisy[0] and smoothed(noisy)[-1] == noisy[-1]
    assert abs(smoothed(noisy)[100] - 100) < 0.2


def test_progress_prints_plain_lines_where_there_is_no_terminal(capsys):
    record = {"step": 1, "loss": 2.5, "tokens_per_s": 45100.0, "mfu": 0.61, "seconds_left": 65}
    with Progress(2) as progress:
        progress.show(record | {"val_loss": 2.75})
        progress.show(record | {"step": 2})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "step 1/2  loss 2.500  validation 2.750  45,100 tokens/s  MFU 61%  1:05 left"
    assert "validation 2.750" in second  # the last one known
    with Progress(2, quiet=True) as progress:
        progress.show(record)
    assert capsys.readouterr().out == ""
    assert clock(3700) == "1:01:40"


def test_the_measured_product_rate_is_a_positive_number():
    assert 0 < matmul_flops_per_second(np, 1, n=64, seconds=0.01) < math.inf


@pytest.mark.parametrize(
    "too_much",
    [
        {"preset": "gpt3"},
        {"batch_size": 10**9},
        {"n_ctx": 10**9, "batch_size": 1},
        {"dtype": "float64", "n_embd": 2**16},
    ],
)
def test_a_run_that_cannot_fit_this_machine_is_refused_before_anything_is_made(tmp_path, too_much):
    text = tmp_path / "text.txt"
    text.write_text("a text " * 50)
    with pytest.raises(InputError, match=r"this run takes at least [\d,]+ GiB, [\d,]+ of them for weights"):
        run.start(run.config_from({"data": str(text), "out": str(tmp_path / "run")} | too_much))
    assert not (tmp_path / "run").exists()
