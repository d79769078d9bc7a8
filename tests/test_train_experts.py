"""Training a GPT with mixtures of experts: the bias resumes, the load is logged and drawn, the directory comes back."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.checkpoint import load_state
from scratchgpt.cli import main
from scratchgpt.evaluation import evaluate
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.moe import MoEConfig
from scratchgpt.plot import draw_load
from scratchgpt.train import LOAD_FILE, METRICS_FILE, TrainConfig, Trainer

SHAPE = {"vocab_size": 11, "n_ctx": 8, "n_layer": 2, "n_head": 2, "n_embd": 8}
SOFTMAX, SIGMOID = MoEConfig(5, 2), MoEConfig(6, 2, 5, 1, "sigmoid", n_groups=3, top_groups=2, balance=0.01)
SHORT = TrainConfig(steps=12, batch_size=4, warmup_steps=2, checkpoint_every=3, eval_every=4, log_every=2, threads=2)


def trainer(moe, config=SHORT, shape=SHAPE, **options):
    ids = np.cumsum(np.random.default_rng(0).integers(0, 3, 900)) % 11
    model = GPT(GPTConfig(**shape, moe=moe), seed=1)
    return Trainer(model, None, ids[:-90], ids[-90:], config, quiet=True, **options)


def biases(model):
    return [model.params[name].copy() for name in model.params.names if name.endswith("balance_bias")]


def records(directory):
    return [json.loads(line) for line in (directory / METRICS_FILE).read_text().splitlines()]


@pytest.mark.parametrize("moe", [SOFTMAX, SIGMOID], ids=["softmax", "sigmoid"])
def test_resume_continues_bit_for_bit_and_the_moved_bias_with_it(tmp_path, moe):
    config, shape = replace(SHORT, accumulate=2, checkpoint_every=5), SHAPE | {"dropout": 0.2}
    whole = trainer(moe, config, shape)
    whole.run()
    stopped = trainer(moe, config, shape, out=tmp_path)
    for _ in range(7):
        stopped.step()
    stopped.save()
    if moe is SIGMOID:
        assert all(np.abs(bias).max() > 0.01 for bias in biases(stopped.model))
    resumed = trainer(moe, config, shape, out=tmp_path, resume=load_state(tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(biases(resumed.model), biases(stopped.model)))
    resumed.run()
    for a, b in ((whole.model.params.data, resumed.model.params.data), (whole.optimizer.v, resumed.optimizer.v)):
        assert a.tobytes() == b.tobytes()


def test_a_bias_moves_by_its_speed_at_every_update():
    run = trainer(SIGMOID)
    before = biases(run.model)
    run.step()
    for old, new, load in zip(before, biases(run.model), run.shards.routing()[0]):
        assert new - old == pytest.approx(0.01 * np.sign(load.mean() - load), abs=1e-8)  # float32
    assert load.sum() == 2 * 4 * 8  # top_k experts for each token of the update


def test_metrics_hold_the_load_and_the_loss_without_balancing(tmp_path):
    run = trainer(replace(SOFTMAX, balance=0.5), out=tmp_path)
    run.run()
    logged = [record for record in records(tmp_path) if "loss" in record]
    assert all(record["balance_loss"] > 0.9 for record in logged)  # two mixtures, 0.5 x 2 each where the load is even
    assert all(record["loss"] < 3.5 for record in logged)  # ln 11 is 2.4: without them
    for record in logged:
        assert np.shape(record["expert_load"]) == (2, 5)
        assert np.sum(record["expert_load"], 1) == pytest.approx([2, 2], abs=1e-3)  # rounded to 4 digits
    assert (tmp_path / LOAD_FILE).read_bytes().startswith(b"\x89PNG")


def test_a_run_without_experts_logs_and_draws_no_load(tmp_path):
    trainer(None, out=tmp_path).run()
    assert not (tmp_path / LOAD_FILE).exists()
    assert not any("expert_load" in record or "balance_loss" in record for record in records(tmp_path))


def test_evaluation_leaves_balancing_out():
    run = trainer(replace(SOFTMAX, balance=50.0))
    free = trainer(replace(SOFTMAX, balance=0.0))
    assert np.array_equal(free.model.params.data, run.model.params.data)
    assert evaluate(run.model, run.data.val_ids) == evaluate(free.model, run.data.val_ids)


@pytest.mark.parametrize("moe", [replace(SOFTMAX, balance=1.0), replace(SIGMOID, n_groups=1, top_groups=1)],
                         ids=["loss", "bias"])  # fmt: skip
def test_balancing_evens_the_load_out(moe):
    config = replace(SHORT, steps=150, batch_size=8, lr=1e-2, log_every=10, eval_every=1000)

    def unevenness(moe):
        run = trainer(moe, config)
        run.run()
        loads = [record["expert_load"] for record in run.history if record["step"] > 100 and "loss" in record]
        return np.std(np.mean(loads, 0), 1).max()  # of the shares of the experts of one mixture

    # over four seeds 0.02 to 0.04 with balancing, 0.09 to 0.18 without
    assert unevenness(moe) < 0.06 < unevenness(replace(moe, balance=0.0))


@pytest.mark.parametrize("shape", [
    {"moe": SOFTMAX},
    {"moe": replace(SIGMOID, n_dense=1), "norm_first": False, "tied_head": False, "activation": "gelu"},
    {"moe": replace(SOFTMAX, n_shared=2, n_inner=3), "n_inner": 20},
])  # fmt: skip
def test_a_directory_comes_back_with_its_mixtures(tmp_path, shape):
    model = GPT(GPTConfig(**SHAPE, **shape), seed=3)
    for bias in biases(model):
        bias += 0.5
    interop.save(model, tmp_path)
    again = interop.load(tmp_path)
    assert again.config == model.config and np.array_equal(again.params.data, model.params.data)
    said = json.loads((tmp_path / "config.json").read_text())
    assert said["model_type"] == "scratchgpt_moe" and said["moe"] == asdict(model.config.moe)
    assert interop.tensors(model).keys() >= {"transformer.h.1.mlp.router.weight", "transformer.wte.weight"}


def test_the_command_line_trains_samples_and_resumes_a_mixture(tmp_path, capsys):
    out = str(tmp_path / "run")
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog sat on the log. " * 60)
    small = ["--data", str(text), "--vocab-size", "270", "--n-layer", "1", "--n-embd", "8", "--n-ctx", "16"]
    options = ["--moe-experts", "4", "--moe-top-k", "2", "--moe-scores", "sigmoid", "--moe-shared", "1"]
    assert (
        main(["train", *small, *options, "--moe-balance", "0.02", "--steps", "4", "--threads", "1", "--out", out]) == 0
    )
    said = capsys.readouterr().out
    assert "parameters, " in said and "of them for a token" in said
    config = interop.load(out).config
    assert config.moe == MoEConfig(4, 2, n_shared=1, scores="sigmoid", balance=0.02)
    assert main(["train", "--resume", out, "--steps", "6", "--quiet"]) == 0
    assert main(["sample", out, "--prompt", "the", "--max-tokens", "3"]) == 0
    assert main(["train", "--resume", out, "--moe-experts", "8"]) == 2
    assert "--moe-experts is 8, but the run in" in capsys.readouterr().err


@pytest.mark.parametrize("options, said", [
    (["--moe-top-k", "1"], "--moe-top-k is about a mixture of experts; give --moe-experts N too"),
    (["--moe-experts", "4", "--moe-top-k", "5"], "moe top_k is 5; expected at most the 4 experts"),
    (["--moe-experts", "-3"], "moe n_experts is -3; expected at least 1"),
    (["--moe-experts", "4", "--moe-balance", "-1"], "moe balance is -1.0; expected 0 or more, or None"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused_on_one_line(tmp_path, capsys, options, said):
    out = tmp_path / "run"
    assert main(["train", *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"scratchgpt: {said}") and error.count("\n") == 1 and not out.exists()


def test_the_picture_of_many_mixtures_and_two_runs_is_a_png(tmp_path):
    rng = np.random.default_rng(0)
    history = [{"step": step, "expert_load": rng.random((9, 4)).tolist()} for step in (1, 5, 10)]
    draw_load(tmp_path / "a.png", {"balanced": history, "not balanced": [*history, {"step": 10, "val_loss": 3.0}]}, 2)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
