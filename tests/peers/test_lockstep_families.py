"""`scratchgpt compare` of every family but the GPT: all of it agrees, and faults of one line are located."""

import numpy as np
import pytest
from planted import is_located, plant
from planted_families import CONFIGS, FAMILIES, FAULTS, GPT1_SHAPE, GPT_SHAPE, HEADS, make_batch, make_model

from scratchgpt import interop
from scratchgpt.check.lockstep import FAMILIES as MAPS
from scratchgpt.check.lockstep import Recipe, family_of, lockstep, run_twins
from scratchgpt.cli import main
from scratchgpt.errors import InputError
from scratchgpt.interop import save
from scratchgpt.models.gpt import GPTConfig
from scratchgpt.ops import table
from scratchgpt.params import ParamStore

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'scratchgpt[compare]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'scratchgpt[compare]'"
)
from scratchgpt.check.lockstep.twin import Run, Twin  # noqa: E402
from scratchgpt.check.lockstep.walk import Walk  # noqa: E402

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def twins():
    """run_twins, once for each model and type: no fault of ours changes what they do."""
    known = {}

    def run(model, *arguments):
        key = model.config, model.params.dtype
        known[key] = known.get(key) or run_twins(model, *arguments)
        return known[key]

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_planted_fault_is_found_at_its_place(fault, dtype, twins, monkeypatch):
    monkeypatch.setattr("scratchgpt.check.lockstep.run_twins", twins)
    batch = make_batch(fault.model)
    file, line = plant(monkeypatch, fault)
    found = lockstep(make_model(fault.model, dtype), batch, steps=1).divergence
    assert found is not None and is_located(found, fault, file, line), found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_library_as_it_is_agrees(name, dtype, twins):
    for ops in ("reference", "fast_cpu") if dtype == "float32" else ("reference",):
        report = lockstep(make_model(name, dtype, ops), make_batch(name), steps=2)
        assert report.agrees, str(report)


# ---- the twin


def own_batch(name, batch):
    """The batch as transformers takes it, for the same loss as ours."""
    config, task = CONFIGS[name], getattr(CONFIGS[name], "task", None)
    batch = {name: torch.tensor(array) for name, array in batch.items()}
    if task == "span":  # it has no mask of the context, and takes what is beyond the row for no answer
        batch.pop("context_mask")
        batch = {name: array[:2] for name, array in batch.items()}
    if task == "sentence" and config.problem == "multi":
        batch["labels"] = batch["labels"].double().float()
    if task == "choice" and isinstance(config.backbone, GPTConfig):
        at = batch.pop("attention_mask").sum(-1) - 1  # padding on the right changes nothing that comes before
        batch |= {"mc_labels": batch.pop("labels"), "mc_token_ids": at}
    if name in ("llama", "mixtral, not balanced", "deepseek", "gpt", "gpt1"):
        batch["use_cache"] = False
    return batch


TWINS = [
    name
    for name in (*FAMILIES, *HEADS, "mixtral, not balanced", "bert, next sentences")
    if "lm" not in name.split() and name not in ("spanbert", "mixtral", "word2vec")
]  # whose loss transformers has not


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_computes_what_transformers_does(name, tmp_path):
    """With taps and without casts it is another program, but in float32 both give the same loss: sums of some hundred
    terms of size 1, each rounded at 6e-8."""
    model, batch = make_model(name), make_batch(name)
    if name in ("gpt, sentence", "gpt1, sentence"):  # read off the last token that is not pad_token_id
        batch["input_ids"] = np.maximum(1, batch["input_ids"]) * batch["attention_mask"]
    if getattr(model.config, "task", None) == "span":
        batch["context_mask"][:] = 1
    family = family_of(model.config)
    full, _ = family.batch(model, batch)
    twin = Twin(model, family, "float32").module
    ours = family.loss(twin, {name: torch.from_numpy(array) for name, array in full.items()}).item()
    interop.save(model, tmp_path)
    how = (
        {"experts_implementation": "eager"} if getattr(model.config, "moe", None) else {}
    )  # grouped: round widths only
    own = getattr(transformers, interop.layout_of(model.config).architecture).from_pretrained(tmp_path, **how).eval()
    own.config.pad_token_id = 0
    batch = own_batch(name, batch)
    if name == "bert, next sentences":
        batch["labels"] = batch.pop("next_sentence_label")
    out = own(**batch)
    theirs = (out.mc_loss if "mc_labels" in batch else out.loss).item()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_every_family_and_every_head_has_a_map():
    for layout in interop.LAYOUTS:
        assert layout.model_type in (*MAPS, "scratchgpt_moe")  # the last is ours alone
    assert {interop.layout_of(config).architecture for config in (*CONFIGS.values(), GPT_SHAPE, GPT1_SHAPE)} == {
        layout.architecture for layout in interop.LAYOUTS if layout.model_type != "scratchgpt_moe"
    }


# ---- other batches


def without(name, *keys):
    return {key: array for key, array in make_batch(name).items() if key not in keys}


def left_padded(name):
    batch = make_batch(name)
    T = batch["input_ids"].shape[1]
    batch["attention_mask"] = (np.arange(T) >= np.array([0, 3, T - 3])[:, None]).astype(int)
    batch["labels"] = np.where(batch["attention_mask"] == 1, batch["input_ids"], -100)
    batch["labels"][1, 3] = batch["labels"][2, T - 3] = -100  # predicted by positions that see nothing
    return batch


def two_orders(name):
    batch = make_batch(name)
    again = {key: np.stack((batch[key], batch[key][::-1]), 1) for key in batch if key != "labels"}
    return again | {"labels": batch["labels"]}


OTHER_BATCHES = {
    "bert": lambda name: without(name, "attention_mask", "token_type_ids"),
    "roberta": lambda name: make_batch(name) | {"input_ids": make_batch(name)["input_ids"][:, ::-1].copy(),
                                                "attention_mask": make_batch(name)["attention_mask"][:, ::-1].copy()},
    "t5": lambda name: without(name, "attention_mask") | {"decoder_input_ids": make_batch(name)["labels"] % 37},
    "llama": left_padded,
    "deepseek": lambda name: without(name, "attention_mask", "labels"),
    "bert, sentence": two_orders,
    "gpt, sentence": two_orders,
    "roberta, span": lambda name: without(name, "context_mask", "attention_mask"),
    "gpt, choice": lambda name: without(name, "attention_mask"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_BATCHES)
def test_other_batches_agree(name):
    report = lockstep(make_model(name, "float64"), OTHER_BATCHES[name](name), steps=1)
    assert report.agrees, str(report)


ALL_PADDING = [[1] * 11, [0] * 11, [1] * 11]
REFUSED = {
    "bert": [
        ({"attention_mask": ALL_PADDING}, "a row of the batch is all padding"),
        ({"labels": [[-100] * 11] * 3}, "no target for mlm or nsp"),
        ({"start_positions": [1]}, "the batch has start_positions; expected input_ids"),
    ],
    "spanbert": [({"labels": [[-100] * 10 + [5]] * 3}, "with a token on both sides")],
    "t5": [
        ({"labels": [[-100] * 3] * 3}, "no target"),
        ({"attention_mask": ALL_PADDING}, "all padding"),
        ({"token_type_ids": [[0] * 11] * 3}, "the batch has token_type_ids"),
    ],
    "bert, encoder": [({"labels": [[0] * 11] * 3}, "the batch has labels")],
    "t5, encoder": [({"attention_mask": ALL_PADDING}, "all padding")],
    "mixtral": [({"attention_mask": [[0] + [1] * 11] * 3, "labels": [[-100] * 2 + [1] * 10] * 3}, "pad on the right")],
    "gpt, span": [({"attention_mask": [[0] + [1] * 10] * 3}, "pad on the right")],
    "roberta, sentence": [({"labels": [-100] * 3}, "no target"), ({"labels": [1, 2, 3]}, "labels are 0 to 2")],
}


@pytest.mark.parametrize(("name", "change", "message"), [(name, *case) for name in REFUSED for case in REFUSED[name]])
def test_a_batch_that_cannot_be_compared_is_refused_in_one_line(name, change, message):
    with pytest.raises(InputError, match=message) as told:
        lockstep(make_model(name), make_batch(name) | change)
    assert "\n" not in str(told.value)


# ---- mixtures of experts


def test_a_choice_that_rounding_decides_is_said_to_be_one():
    """Routers whose rows differ by about a rounding of float32: which expert is best is noise there, and not in
    float64, where the weights are the same numbers."""
    for dtype in ("float32", "float64"):
        model = make_model("mixtral", dtype)
        for i in range(2):
            weight = model.params[f"blocks.{i}.mlp.router.weight"]
            rows = weight[0] * (1 + 6e-8 * np.arange(4)[:, None])
            weight[...] = rows.astype(np.float32)
        report = lockstep(model, make_batch("mixtral"), steps=1)
        if dtype == "float64":
            assert report.agrees, str(report)
        else:
            found = report.divergence
            assert (found.kind, found.op) == ("tie", "choose_experts")
            assert "rounding decides" in found.said and "float64" in found.said


def test_the_float32_twin_takes_the_experts_of_the_float64_one():
    model = make_model("deepseek")
    family = family_of(model.config)
    batch, _ = family.batch(model, make_batch("deepseek"))
    truth = Twin(model, family, "float64").run(batch, 2, Recipe())
    turned = {name: [each[:, ::-1].copy() for each in choices] for name, choices in truth.choices.items()}
    probe = Twin(model, family, "float32").run(batch, 2, Recipe(), turned)
    for name, choices in truth.choices.items():
        assert len(choices) == 2 and all(map(np.array_equal, probe.choices[name], turned[name]))
    site = "blocks.1.mlp.router.choose_experts"
    assert np.array_equal(probe.values[site], truth.values[site][:, ::-1])


def test_a_choice_that_turns_during_the_updates_is_said_to_be_one(monkeypatch):
    def run(model, *arguments):
        other, truth, probe = run_twins(model, *arguments)
        for choices in truth.choices.values():
            choices[1][4] = choices[1][4, ::-1]
        return other, truth, probe

    monkeypatch.setattr("scratchgpt.check.lockstep.run_twins", run)
    found = lockstep(make_model("mixtral"), make_batch("mixtral"), steps=2).divergence
    assert (found.kind, found.op) == ("tie", "choose_experts") and "token 4 of 33" in found.said


# ---- the command


DIRECTORIES = (*FAMILIES, "bert, encoder", "t5, encoder", "bert, masked LM and a pooler that nothing trains",
               "roberta, sentence", "gpt, choice and lm")  # fmt: skip


@pytest.mark.parametrize("name", DIRECTORIES)
def test_compare_of_a_directory_agrees_and_says_what_the_twin_is(name, tmp_path, capsys):
    save(make_model(name), tmp_path / "model")
    assert main(["compare", str(tmp_path / "model"), "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert interop.layout_of(CONFIGS[name]).architecture in out and "WRONG" not in out
    notes = {"t5": "without transformers' casts", "mixtral": "its balancing loss is Fedus et al.'s", "spanbert":
             "transformers has no span boundary head", "bert, encoder": "it has no loss of its own"}  # fmt: skip
    assert notes.get(name, "") in out


@pytest.mark.parametrize("preset", ["bert-large", "t5-11b", "llama-65b", "mixtral-8x7b", "deepseek-v3"])
def test_a_preset_that_does_not_fit_is_refused_in_one_line(preset, capsys, monkeypatch):
    monkeypatch.setattr("scratchgpt.check.lockstep.command.machine_memory", lambda: 24 * 2**30)
    assert main(["compare", "--preset", preset]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "compare a smaller model" in captured.err


def test_a_norm_may_be_off_as_a_long_sum_in_float32_is():
    """Of a million squares in one chain a float32 sum loses two digits more than any gradient does."""
    params = ParamStore({"a.weight": ((1024, 1024), 1.0)}).initialise(0)
    run = Run((), {"other": np.ones(1)}, {"other": np.ones(1)}, {}, {"a": np.ones(1)}, [], {}, {}, {})
    norm = float(table("fast_cpu").global_norm(params.data))
    truth = np.linalg.norm(params.data.astype("float64"))
    row = Walk(params, run, run).scalar("norm", norm, truth, truth)
    assert row.ok and row.budget < 2e-4 * truth
