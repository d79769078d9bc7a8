"""The benchmark compares equal work, takes turns, and says what it compared. No test measures time."""

import argparse
import json
import statistics

import numpy as np
import pytest

from scratchgpt import bench
from scratchgpt.bench import contest, sections
from scratchgpt.bench.contest import UNTUNED, Contender, ContenderError, alternate, median_ratio
from scratchgpt.bench.sections import Row, Settings, Shape
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=61, n_ctx=32, n_layer=2, n_head=3, n_embd=12)
TINY = Shape("tiny", CONFIG, rows=4, length=11)
QUICK = Settings(threads=2, rounds=1)


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(contest, "PAUSE", 0)
    monkeypatch.setattr(alternate, "__defaults__", (0,))  # one run is a turn


# ---- equal work


@pytest.mark.peer
@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu"])
def test_the_torch_gpt_has_the_same_loss_and_gradients(activation):
    torch = pytest.importorskip("torch")
    from scratchgpt.bench.torch_gpt import TorchGPT

    rng = np.random.default_rng(1)
    model = GPT(GPTConfig(61, 32, 2, 3, 12, activation=activation), dtype="float64")
    model.params.data += 0.1 * rng.standard_normal(model.params.size)  # biases that are not zero
    twin = TorchGPT.like(model)
    ids = rng.integers(0, 61, (4, 12))
    loss, cache = model.loss({"input_ids": ids})
    model.backward(cache)
    torch_loss = twin(torch.from_numpy(ids))
    torch_loss.backward()
    assert float(loss) == pytest.approx(torch_loss.item(), rel=1e-12)  # float64: rounding of a few thousand sums
    gradients = dict(twin.named_parameters())
    assert gradients.keys() == model.params.spec.keys()
    for name, parameter in gradients.items():
        ours, theirs = model.params.grad_of(name), parameter.grad.numpy()
        assert np.abs(ours - theirs).max() <= 1e-10 * np.abs(theirs).max(), name


@pytest.mark.peer
def test_both_training_jobs_make_the_same_steps():
    pytest.importorskip("torch")
    job = TINY.job | {"threads": 2}
    with (
        Contender("train_ours", **job) as ours,
        Contender("train_torch", UNTUNED, **job, try_threads=False) as theirs,
    ):
        assert ours.about["loss"] == pytest.approx(theirs.about["loss"], rel=sections.SAME_LOSS)
        # the losses after more steps agree only if clipping and AdamW agree too; float32 rounding as before
        assert ours.run(20)["result"] == pytest.approx(theirs.run(20)["result"], rel=sections.SAME_LOSS)


@pytest.mark.peer
def test_sampling_jobs_draw_the_same_tokens():
    pytest.importorskip("transformers")
    row = sections.sample_one(QUICK, TINY, goal=3.0, new_tokens=8)
    assert row.note.endswith("the same tokens") and row.ratio > 0


def test_a_torch_contender_is_not_tuned():
    with Contender("product", UNTUNED, rows=4, n_in=3, n_out=5, threads=1) as contender:
        assert all(said.startswith("left alone") for said in contender.about["tuning"].values())


@pytest.mark.parametrize("length", [1, 2, 7])
def test_needed_flops_count_the_keys_that_each_query_sees(length):
    C, L = CONFIG.n_embd, CONFIG.n_layer
    weights = L * 12 * C * C + L * (4 + 4 + 1) * C + CONFIG.vocab_size * C  # matrices, their biases, the head
    seen = sum(t + 1 for t in range(length))
    attention = L * seen * 2 * 6 * C  # 6 products of 2 C FLOPs per query and key
    assert sections.needed_flops_per_token(CONFIG, length) * length == pytest.approx(6 * weights * length + attention)


# ---- taking turns


class Counted:
    """A contender whose runs take as many seconds as they have been asked for, in thousandths."""

    def __init__(self, name, turns):
        self.name, self.turns = name, turns

    def run(self, runs=1):
        self.turns.append(self.name)
        return {"seconds": [len(self.turns) / 1e3] * runs, "result": None, "peak_rss": 1}


def test_contenders_alternate_after_a_warm_up():
    turns = []
    seconds = alternate({name: Counted(name, turns) for name in "AB"}, rounds=3)
    assert "".join(turns) == "AABB" + "ABABAB"
    assert seconds == {"A": [0.005, 0.007, 0.009], "B": [0.006, 0.008, 0.010]}


def test_a_ratio_is_the_median_of_each_rounds_ratio():
    a, b = [2.0, 30.0, 8.0], [1.0, 10.0, 2.0]  # the second round was disturbed: both are slow
    assert median_ratio(a, b) == 3.0 != statistics.median(a) / statistics.median(b)


def test_a_contender_ends_when_its_pipe_does():
    with Contender("product", rows=4, n_in=3, n_out=5, threads=2, side_by_side=True) as contender:
        answer = contender.run(3)
        assert len(answer["seconds"]) == 3 and answer["peak_rss"] > 1e6
        assert contender.about["flops"] == 2 * 4 * 3 * 5 * 8
    assert contender.process.returncode == 0


def test_a_contender_that_fails_says_why():
    with pytest.raises(ContenderError, match="n_embd 12 is not divisible by n_head 5"):
        Contender("train_ours", config={"n_embd": 12, "n_head": 5}, rows=1, length=1, threads=1)


# ---- sections


@pytest.mark.peer
def test_train_without_a_compiler_says_so_and_compares_with_eager(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(sections.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    eager, compiled = sections.train_one(QUICK, TINY, 1.7, 1.6)
    assert eager.against == "PyTorch eager" and eager.ratio > 0 and "the same first loss" in eager.note
    assert compiled.ratio is None and "C++ compiler" in compiled.note and compiled.met is None


def test_sgemm_has_a_row_for_one_thread_and_one_for_all():
    rows = sections.sgemm(QUICK, TINY)
    assert [row.goal for row in rows] == [0.75, 0.65]
    assert all(row.ratio > 0 and "that the causal mask hides" in row.note for row in rows)


@pytest.mark.peer
def test_memory_names_the_floor_and_its_goal_is_an_upper_bound():
    pytest.importorskip("torch")
    (row,) = sections.memory(QUICK, TINY)
    assert row.at_most and row.met == (row.ratio <= 0.8) and "m and v alone are 0.00 GB" in row.note
    assert row.theirs > 0.1  # GB: PyTorch itself is larger


@pytest.mark.peer
def test_tokenizer_rows_have_ratios_or_say_why_not(tmp_path):
    pytest.importorskip("tokenizers")
    pytest.importorskip("tiktoken")
    path = tmp_path / "text.txt"
    path.write_text("".join(f"the {i} words that follow {i * i}, and then some\n" for i in range(3000)))
    rows = sections.tokenizer(QUICK, path, vocab_size=300, megabytes=2)
    assert [row.goal for row in rows] == [2.0, None, 100.0, 0.3, 1.0, 2.0]
    assert all(row.ratio > 0 for row in rows[:3])
    assert all(row.ratio is None and "GPT-2's tokenizer files" in row.note for row in rows[3:5])


def test_a_mixture_is_compared_with_the_dense_layer_of_its_active_width():
    (row,) = sections.moe(QUICK, (TINY,))
    assert row.ratio > 0 and row.at_most and row.goal == 1.3
    weights, biases = 2 * 12 * 48, 12 + 48  # experts have no biases
    assert f"meets {weights:,} weights of experts, {weights + biases:,} of the dense layer" in row.note


def test_differing_losses_are_shouted():
    about = {"ours": {"loss": 4.0}, "other": {"loss": 4.1}}
    assert "DIFFER" in sections.same_loss(about, "other")


# ---- the command


def run_bench(monkeypatch, arguments, rows=()):
    """Runs the command with one section, `train`, that gives `rows` or raises them."""

    def section(settings):
        if isinstance(rows, Exception):
            raise rows
        return rows

    monkeypatch.setattr(bench, "SECTIONS", {"train": (section, ("numpy",))})
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return bench.main(parser.parse_args(arguments))


ROWS = (
    Row("training step, tiny", 1.9, 1.7, ours=100.0, theirs=190.0, unit="ms", against="PyTorch eager", note="noted"),
    Row("peak memory", 0.9, 0.8, at_most=True, ours=0.9, theirs=1.0, unit="GB", against="PyTorch eager"),
)


def test_json_is_one_object_with_ratios_goals_and_the_machine(monkeypatch, capsys):
    assert run_bench(monkeypatch, ["--json", "--threads", "1", "--blas", "haswell"], ROWS) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["met"] for row in report["sections"]["train"]] == [True, False]
    assert report["settings"] == {"threads": 1, "rounds": bench.ROUNDS, "blas": "haswell"}
    assert report["machine"]["cpu"]["cores"] >= 1 and "numpy" in report["machine"]["versions"]


def test_the_table_puts_ratios_first(monkeypatch, capsys):
    run_bench(monkeypatch, ["train", "--quick"], ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["1.90", ">=", "1.7"] and "met" in lines[1]
    assert lines[2].split()[:3] == ["0.90", "<=", "0.8"] and "missed" in lines[2]


def test_a_section_that_cannot_run_is_named_and_the_exit_code_is_1(monkeypatch, capsys):
    assert run_bench(monkeypatch, [], ContenderError("out of memory")) == 1
    assert "out of memory" in capsys.readouterr().out


def test_a_missing_library_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed; run pip install 'scratchgpt\[compare\]'"):
        run_bench(monkeypatch, [])


def test_an_unknown_section_is_refused(monkeypatch):
    with pytest.raises(InputError, match="no section 'trian'; expected any of train"):
        run_bench(monkeypatch, ["trian"])


def test_threads_below_one_are_refused(monkeypatch):
    with pytest.raises(InputError, match="--threads is 0"):
        run_bench(monkeypatch, ["--threads", "0"])
