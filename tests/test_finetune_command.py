"""scratchgpt finetune and scratchgpt predict: what they leave, what they say, and every input they refuse."""

import json
import os

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.cli import main
from scratchgpt.files import write_tensors
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.t5 import T5, T5Config
from scratchgpt.tasks import read, score
from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer

TEXT = "Ada Lovelace wrote the first program in London . the quick brown fox is not a lazy dog , café €5 ! " * 3
SHAPE = {"n_ctx": 32, "n_layer": 1, "n_head": 2, "n_embd": 16}
QUICK = ["--epochs", "2", "--batch-size", "4", "--threads", "1", "--lr", "0.01"]


def json_lines(make, n=24):
    return "".join(json.dumps(make(i)) + "\n" for i in range(n))


def table(make, columns="text\tlabel", n=24):
    return columns + "\n" + "".join(make(i) + "\n" for i in range(n))


FILES = {
    "sentence": ("t.tsv", table(lambda i: f"a {('fox', 'dog')[i % 2]} is {('lazy', 'red')[i % 3 % 2]}\t{'FD'[i % 2]}")),
    "regression": ("r.csv", table(lambda i: f"{'quick ' * (i % 4 + 1)}fox,{i % 4}", "text,label")),
    "multi": ("m.tsv", table(lambda i: f"{('fox', 'dog', 'fox dog')[i % 3]}\t{('F', 'D', 'F|D')[i % 3]}")),
    "pair": ("p.tsv", table(lambda i: f"the fox\t{('quick', 'lazy')[i % 2]}\t{i % 2}", "first\tsecond\tlabel")),
    "choice": ("c.jsonl", json_lines(lambda i: {
        "context": "Ada wrote", "choices": ["a fox", "a dog", "a program"][: 2 + i % 2], "label": i % 2})),
    "tag": ("t.conll", "Ada B-PER\nLovelace I-PER\nwrote O\n\nin O\nLondon B-LOC\n\n" * 8),
    "span": ("s.jsonl", json_lines(lambda i: {
        "question": ("who", "lazy")[i % 2], "context": "the first program was by Ada Lovelace",
        "answers": [{"answer_start": 25, "text": "Ada Lovelace"}] if i % 2 == 0 else []})),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pretrained models and a file of examples for every task."""
    place = tmp_path_factory.mktemp("finetune")
    wordpiece, bpe = WordPieceTokenizer.train(TEXT, 90), BPETokenizer.train(TEXT, 320)
    roberta = BPETokenizer.train(TEXT, 320, ["<s>", "<pad>", "</s>", "<mask>"])
    pad = roberta.special_tokens["<pad>"]
    for name, model, tokenizer in (
        ("bert", BERT(BERTConfig(wordpiece.vocab_size, dropout=0.1, **SHAPE), seed=9), wordpiece),
        ("roberta", BERT(RoBERTaConfig(roberta.vocab_size, pad_id=pad, **SHAPE)), roberta),
        ("gpt", GPT(GPTConfig(bpe.vocab_size, **SHAPE)), bpe),
        ("gpt1", GPT(GPTConfig(bpe.vocab_size, norm_first=False, **SHAPE)), bpe),
        ("t5", T5(T5Config(bpe.vocab_size, n_layer=1, n_head=2, n_embd=8, n_inner=8, head_width=4)), bpe),
    ):
        interop.save(model, place / name, tokenizer)
    for name, text in FILES.values():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.fixture
def sg(place, tmp_path, monkeypatch, capsys):
    """sg("finetune bert --task ...") -> (exit code, stdout, stderr), in a folder of its own that links to `place`."""
    for each in place.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)

    def run(line, *more):
        code = main([*line.split(), *more])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def finetuned(sg, task, model="bert", *more):
    """The directory of a quick finetuning."""
    base, problem = ("sentence", task) if task in ("regression", "multi") else (task, "single")
    words = ["--task", base, "--data", FILES[task][0], "--problem", problem, "--out", "out", "--quiet"]
    code, _, err = sg(f"finetune {model}", *words, *QUICK, *more)
    assert (code, err) == (0, "")
    return "out"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def record_of(path):
    with open(f"{path}/finetune.json", encoding="utf-8") as file:
        return json.load(file)


# what is left


@pytest.mark.parametrize("task", FILES)
@pytest.mark.parametrize("model", ["bert", "roberta", "gpt"])
def test_predict_gives_the_very_metric_that_finetuning_recorded(sg, task, model):
    out = finetuned(sg, task, model)
    record, said = record_of(out), lines(f"{out}/predictions.jsonl")
    base = record["task"]
    with open(f"{out}/predictions.jsonl", "rb") as file:
        written = file.read()
    os.remove(f"{out}/predictions.jsonl")
    code, printed, err = sg(f"predict {out} --threads 2")
    assert (code, err) == (0, "")
    with open(f"{out}/predictions.jsonl", "rb") as file:
        assert file.read() == written
    for name, value in record["metrics"].items():
        assert name in printed and f"{value:.4f}" in printed
    examples = {each.id: each for each in read(FILES[task][0], base, record["options"]["problem"])}
    predicted = [
        tuple(each["prediction"]) if isinstance(each["prediction"], list) else each["prediction"] for each in said
    ]
    again = score(base, [examples[each["id"]] for each in said], predicted, record["options"]["problem"])
    assert again == record["metrics"]


def test_both_orders_and_the_language_models_loss_are_kept_for_predict(sg):
    out = finetuned(sg, "pair", "gpt", "--both-orders", "--lm-weight", "0.5")
    record, model = record_of(out), interop.load(out)
    assert record["settings"]["both_orders"] is True and model.config.lm_weight == 0.5
    printed = sg(f"predict {out}")[1]
    assert all(f"{value:.4f}" in printed for value in record["metrics"].values())


def test_the_directory_holds_the_model_the_record_the_metrics_and_the_picture(sg):
    code, printed, err = sg("finetune bert --task sentence --data t.tsv --out out", *QUICK)
    assert (code, err) == (0, "")
    assert "22 training examples, 2 for validation, 2 labels" in printed
    assert "without a model, always" in printed and "scratchgpt predict out" in printed
    record, history = record_of("out"), lines("out/metrics.jsonl")
    assert record["majority"]["says"] in ("D", "F") and record["options"]["seed"] == 0
    epochs = [each for each in history if "metrics" in each]
    assert [each["epoch"] for each in epochs] == [1, 2]
    best = next(each for each in epochs if each["epoch"] == record["epoch"])
    assert best["best"] and best["metrics"] == record["metrics"]
    with open("out/finetune.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    assert interop.load("out").config.labels == ("D", "F")


def test_the_same_command_gives_the_same_bytes(sg):
    finetuned(sg, "sentence")
    with open("out/model.safetensors", "rb") as file:
        first = file.read()
    finetuned(sg, "sentence", "bert", "--force")
    with open("out/model.safetensors", "rb") as file:
        assert file.read() == first
    assert [each["epoch"] for each in lines("out/metrics.jsonl") if "metrics" in each] == [1, 2]  # of this run alone


def test_from_scratch_starts_from_new_weights_of_the_same_shape(sg):
    line = "finetune bert --task sentence --data t.tsv --quiet --epochs 1 --lr 1e-12 --threads 1"
    assert sg(line)[0] == 0 and sg(f"{line} --from-scratch")[0] == 0
    pretrained, kept, scratch = (interop.load(path) for path in ("bert", "runs/bert-t", "runs/bert-t-scratch"))
    # a rate of 1e-12 moves nothing by more than this
    np.testing.assert_allclose(kept.params["wte"], pretrained.params["wte"], atol=1e-9)
    assert not np.allclose(scratch.params["wte"], pretrained.params["wte"], atol=1e-3)
    assert scratch.config == kept.config
    assert record_of("runs/bert-t-scratch")["from_scratch"] is True


def test_seeds_share_the_split_and_their_mean_is_printed(sg):
    code, printed, _ = sg("finetune bert --task sentence --data t.tsv --out out --seeds 0,3", *QUICK)
    assert code == 0 and "seed 0" in printed and "seed 3" in printed and "±" in printed
    ids = [[each["id"] for each in lines(f"out/seed-{seed}/predictions.jsonl")] for seed in (0, 3)]
    assert ids[0] == ids[1]
    assert [record_of(f"out/seed-{seed}")["options"]["seed"] for seed in (0, 3)] == [0, 3]
    values = [record_of(f"out/seed-{seed}")["metrics"]["accuracy"] for seed in (0, 3)]
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in printed


def test_from_scratch_every_seed_has_weights_of_its_own(sg, monkeypatch):
    from scratchgpt.finetuning import command

    fresh, seeds = command.fresh, []
    monkeypatch.setattr(command, "fresh", lambda model, seed: seeds.append(seed) or fresh(model, seed))
    assert sg("finetune bert --task sentence --data t.tsv --from-scratch --seeds 3,1 --out o --quiet", *QUICK)[0] == 0
    assert seeds == [3, 1]


def test_an_interrupted_run_keeps_the_best_model_so_far(sg, monkeypatch):
    from scratchgpt.finetuning.loop import Finetuner

    step = Finetuner.step

    def stop_later(self, numbers):
        if self.done == 8:
            raise KeyboardInterrupt
        return step(self, numbers)

    monkeypatch.setattr(Finetuner, "step", stop_later)
    code, _, err = sg("finetune bert --task sentence --data t.tsv --out out --quiet", *QUICK)
    assert code == 130 and "interrupted at step 8; the best model so far, of epoch 1, is in out" in err
    assert sg("predict out")[0] == 0


@pytest.mark.parametrize("moment", ["loop.Finetuner.evaluated", "run.write_predictions"])
def test_a_run_interrupted_before_a_model_is_whole_leaves_none(sg, monkeypatch, moment):
    def stop(*_):
        raise KeyboardInterrupt

    command = "finetune bert --task sentence --data t.tsv --out out --quiet"
    with monkeypatch.context() as patch:
        patch.setattr(f"scratchgpt.finetuning.{moment}", stop)
        code, _, err = sg(command, *QUICK)
    assert code == 130 and "interrupted at step 6; nothing was saved" in err and os.listdir("out") == []
    assert sg(command, *QUICK)[0] == 0  # without --force


def test_models_and_data_may_have_any_name(sg):
    for name in (r"x$\foo$", os.fsdecode(b"caf\xe9")):
        try:
            os.symlink("bert", name)
        except OSError:
            pytest.skip("this file system wants names in UTF-8")
        os.symlink("t.tsv", f"{name}.tsv")
        assert (
            sg("finetune", name, "--task", "sentence", "--data", f"{name}.tsv", "--out", f"{name}-out", *QUICK)[0] == 0
        )
        assert sg("predict", f"{name}-out")[0] == 0
        assert record_of(f"{name}-out")["data"]["data"] == os.path.realpath(f"{name}.tsv")


def test_a_run_that_diverges_says_so(sg):
    code, _, err = sg("finetune bert --task regression --data t.tsv --out out".replace("regression", "sentence"),
                      *QUICK[:-1], "1e30")  # fmt: skip
    assert code == 1 and "try a lower lr" in err and err.count("\n") == 1


def test_a_model_that_its_last_update_ruined_is_not_kept(sg):
    """That step's loss is still finite; only who asks the model sees it."""
    options = ["--epochs", "1", "--batch-size", "99", "--warmup", "0", "--lr", "1e38", "--quiet"]
    code, _, err = sg("finetune bert --task sentence --data t.tsv --out out", *options)
    assert code == 1 and "what the model says is not finite" in err and err.count("\n") == 1
    assert os.listdir("out") == ["metrics.jsonl"]


# predictions for texts and for other files


def test_texts_are_answered_on_the_spot(sg):
    finetuned(sg, "sentence")
    code, printed, err = sg("predict out", "--text", "the fox", "--text", "the dog")
    assert (code, err) == (0, "")
    assert [line.split()[0] in ("F", "D") for line in printed.splitlines()] == [True, True]
    finetuned(sg, "tag", "bert", "--force")
    printed = sg("predict out", "--text", "Ada " * 100)[1]  # in windows: the model has 32 positions
    assert printed.count("Ada") == 100
    finetuned(sg, "span", "gpt", "--force")
    assert sg("predict out", "--text", "who", "--text", "by Ada")[1].split("  (")[0] in (
        "no answer",
        "by",
        "Ada",
        "by Ada",
    )
    finetuned(sg, "choice", "gpt", "--force")
    assert sg("predict out", "--text", "Ada wrote", "--text", "a fox", "--text", "a dog")[1].startswith("a ")
    finetuned(sg, "multi", "bert", "--force")
    assert "F 0." in sg("predict out", "--text", "fox")[1]
    finetuned(sg, "pair", "bert", "--force")
    assert sg("predict out", "--text", "the fox", "--text", "quick")[1][0] in "01"
    finetuned(sg, "regression", "bert", "--force")
    assert float(sg("predict out", "--text", "quick fox")[1]) == pytest.approx(0, abs=10)


def test_examples_without_labels_are_predicted_and_not_scored(sg, tmp_path):
    finetuned(sg, "sentence")
    (tmp_path / "new.tsv").write_text("text\nthe fox\nthe dog\n")
    code, printed, _ = sg("predict out --data new.tsv --out said/new.jsonl")
    assert code == 0 and "accuracy" not in printed
    assert [(each["gold"], each["prediction"] in ("F", "D")) for each in lines("said/new.jsonl")] == [(None, True)] * 2
    assert sg("predict out --data new.tsv")[0] == 0 and len(lines("out/predictions-new.jsonl")) == 2


@pytest.mark.peer
@pytest.mark.parametrize(("task", "auto"), [("sentence", "SequenceClassification"), ("tag", "TokenClassification"),
                                            ("span", "QuestionAnswering")])  # fmt: skip
@pytest.mark.parametrize("model", ["bert", "roberta", "gpt"])
def test_transformers_opens_what_was_written_and_says_the_same(sg, model, task, auto):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    out = finetuned(sg, task, model)
    theirs = getattr(transformers, f"AutoModelFor{auto}").from_pretrained(out)
    ours, text = interop.load(out), "the quick brown fox"
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    written = f"<|start|>{text}<|extract|>" if model == "gpt" else text
    ids = tokenizer(written)["input_ids"]
    if model == "gpt":
        marks = interop.load_tokenizer(out).special_tokens
        assert (ids[0], ids[-1]) == (marks["<|start|>"], marks["<|extract|>"]) == (320, 322)
    with torch.no_grad():
        said = theirs(torch.tensor([ids]))
    mine = ours.logits({"input_ids": np.array([ids])})
    pairs = zip((said.start_logits, said.end_logits), mine) if task == "span" else [(said.logits, mine)]
    for a, b in pairs:
        np.testing.assert_allclose(a.numpy(), b, atol=1e-4, rtol=1e-4)  # two float32 computations
    if task != "span":
        assert theirs.config.id2label == dict(enumerate(ours.config.labels))


@pytest.mark.peer
def test_a_head_that_transformers_wrote_predicts_here(sg, tmp_path):
    transformers = pytest.importorskip("transformers")
    finetuned(sg, "pair")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained("out")
    theirs.save_pretrained("theirs")
    transformers.AutoTokenizer.from_pretrained("out").save_pretrained("theirs")
    assert sg("predict theirs --data p.tsv --task pair --out said.jsonl")[0] == 0
    assert sg("predict out --data p.tsv --out ours.jsonl")[0] == 0
    assert [each["prediction"] for each in lines("said.jsonl")] == [each["prediction"] for each in lines("ours.jsonl")]


# what is refused: one line, exit code 2, nothing written

REFUSED = {
    "a T5": ("finetune t5 --task sentence --data t.tsv", "t5: this is a T5; heads are put on a BERT"),
    "no such directory": ("finetune nowhere --task sentence --data t.tsv", "nowhere is not a directory"),
    "no such file": ("finetune bert --task sentence --data none.tsv", "none.tsv does not exist"),
    "another task's file": ("finetune bert --task pair --data t.tsv", "t.tsv, line 2"),
    "another task's set": ("finetune bert --task tag --data sentiment", "sentiment is a set for the task sentence"),
    "an option for a GPT": ("finetune bert --task sentence --data t.tsv --lm-weight 0.5", "lm_weight is 0.5"),
    "both orders of sentences": ("finetune gpt --task sentence --data t.tsv --both-orders", "both_orders is"),
    "several labels of a word": ("finetune bert --task tag --data t.conll --problem multi", "problem is 'multi'"),
    "a head that cannot be saved": ("finetune gpt1 --task span --data s.jsonl", "no span head for a GPT-1"),
    "a bad rate": ("finetune bert --task sentence --data t.tsv --lr 0", "lr is 0"),
    "a bad share": ("finetune bert --task sentence --data t.tsv --share 0", "the share to hold out is 0"),
    "a bad list of seeds": ("finetune bert --task sentence --data t.tsv --seeds 1,x", "--seeds is '1,x'"),
    "a seed twice": ("finetune bert --task sentence --data t.tsv --seeds 1,1", "--seeds is '1,1'"),
    "a seed and seeds": ("finetune bert --task sentence --data t.tsv --seed 1 --seeds 1,2", "--seed is for one run"),
    "two validation parts": ("finetune bert --task sentence --data t.tsv --val t.tsv --share 0.2", "--val gives"),
    "the pretrained directory": ("finetune bert --task sentence --data t.tsv --out bert --force", "--out is bert"),
    "a file for a directory": ("finetune bert --task sentence --data t.tsv --out t.tsv", "t.tsv is a file"),
    "an unknown task": ("finetune bert --task poem --data t.tsv", "invalid choice: 'poem'"),
    "a model without a head": ("predict bert --data t.tsv", "bert holds a BERT without a task's head"),
    "threads": ("predict bert --threads 0", "--threads is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(sg, tmp_path, name):
    line, message = REFUSED[name]
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = sg(line)
    assert code == 2 and err.count("\n") == 1 and message in err, err
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


MALFORMED = {
    "an empty text": ("sentence", "text\tlabel\nfox\tF\n\tD\n", "x.tsv, line 3: text is empty"),
    "no label": ("sentence", "text\tlabel\nfox\tF\ndog\t\n", "x.tsv, line 3: label is empty"),
    "a column too many": ("sentence", "text\tlabel\nfox\tF\tD\n", "x.tsv, line 2: "),
    "a span outside its context": (
        "span", '{"question": "q", "context": "fox", "answers": [{"answer_start": 9, "text": "dog"}]}\n',
        "x.jsonl, line 1: the answer 'dog' is not at character 9",
    ),
    "tags that do not match": ("tag", '{"tokens": ["fox"], "tags": ["O", "O"]}\n', "line 1: tokens: 1, tags: 2"),
    "a choice that is not there": (
        "choice", '{"context": "c", "choices": ["a", "b"], "label": 2}\n', "x.jsonl, line 1: the label 2 is unknown"
    ),
    "a sequence beyond the positions": (
        "sentence", "text\tlabel\n" + "the fox\tF\nthe dog\tD\n" * 9 + "fox " * 31 + "\tF\n",
        "x.tsv, line 20: 33 tokens; this model has 32 positions",
    ),
    "not JSON": ("tag", "{\n", "x.jsonl, line 1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_named_by_its_number(sg, tmp_path, name):
    task, text, message = MALFORMED[name]
    file = "x.tsv" if task == "sentence" else "x.jsonl"
    (tmp_path / file).write_text(text, encoding="utf-8")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, err = sg(f"finetune bert --task {task} --data {file}")
    assert code == 2 and err.count("\n") == 1 and message in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_long_text_is_cut_where_it_is_asked_for_and_predict_cuts_it_too(sg, tmp_path):
    (tmp_path / "x.tsv").write_text("text\tlabel\n" + "the fox\tF\nthe dog\tD\n" * 9 + "fox " * 90 + "\tF\n")
    assert sg("finetune bert --task sentence --data x.tsv --val x.tsv --truncate --out out --quiet", *QUICK)[0] == 0
    assert sg("predict out --data x.tsv")[0] == 0
    finetuned(sg, "sentence", "bert", "--force")
    code, _, err = sg("predict out", "--text", "fox " * 90)
    assert code == 2 and "--text 1: 92 tokens; this model has 32 positions" in err
    assert sg("predict out --truncate", "--text", "fox " * 90)[0] == 0


def test_labels_that_the_model_does_not_know_are_refused_at_both_ends(sg, tmp_path):
    (tmp_path / "v.tsv").write_text("text\tlabel\nfox\tQ\n")
    code, _, err = sg("finetune bert --task sentence --data t.tsv --val v.tsv --out out")
    assert code == 2 and "v.tsv, line 2: the label 'Q' is unknown" in err
    finetuned(sg, "sentence")
    code, _, err = sg("predict out --data v.tsv")
    assert code == 2 and "v.tsv, line 2: the label 'Q' is unknown" in err
    (tmp_path / "empty.tsv").write_text("text\tlabel\n")
    code, _, err = sg("finetune bert --task sentence --data t.tsv --val empty.tsv --out other")
    assert code == 2 and "empty.tsv" in err


def test_another_run_is_overwritten_only_with_force(sg):
    finetuned(sg, "sentence")
    with open("out/model.safetensors", "rb") as file:
        before = file.read()
    code, _, err = sg("finetune bert --task sentence --data t.tsv --out out --seed 5")
    assert code == 2 and "out already holds a run (finetune.json); overwrite it with --force" in err
    with open("out/model.safetensors", "rb") as file:
        assert file.read() == before


PREDICT = {
    "another task": ("predict out --task tag", "has a sentence head, which cannot do the task tag"),
    "several texts of a pair": ("predict out --task pair --text a --text b --text c", "--text is given 3 times"),
    "an empty text": ("predict out --text ", "--text 1 is empty"),
    "both": ("predict out --text a --data t.tsv", "not allowed with"),
    "a file for texts": ("predict out --text a --out x", "--out is for the predictions of --data"),
    "a directory for the file": ("predict out --data t.tsv --out bert", "bert is a directory"),
    "the examples' file": (
        "predict out --data t.tsv --out t.tsv",
        "--out is t.tsv, which holds the examples or the mo",
    ),
    "the validation's file": ("predict out --out ./t.tsv", "--out is t.tsv, which holds"),
    "the model's file": ("predict out --data t.tsv --out out/config.json", "--out is out/config.json, which holds"),
    "labels it does not know, into a new folder": ("predict out --data m.tsv --out new/x.jsonl", "'F|D' is unknown"),
}


@pytest.mark.parametrize("name", PREDICT)
def test_predictions_that_cannot_be_made_are_refused(sg, name):
    finetuned(sg, "sentence")
    line, message = PREDICT[name]
    words = [""] if line.endswith(" ") else []
    code, _, err = sg(line, *words)
    assert code == 2 and err.count("\n") == 1 and message in err, err
    assert not os.path.exists("new")


def test_a_record_that_is_not_one_is_refused(sg):
    finetuned(sg, "sentence")
    record = record_of("out")
    for damaged in (record | {"task": "poem"}, record | {"settings": {}} | {"settings": None}, {},
                    record | {"settings": record["settings"] | {"longest": "a"}},
                    record | {"settings": record["settings"] | {"longest": 0}},
                    *(record | {"data": record["data"] | {name: []}} for name in record["data"])):  # fmt: skip
        with open("out/finetune.json", "w") as file:
            json.dump(damaged, file)
        code, _, err = sg("predict out")
        assert code == 2 and "out/finetune.json does not say" in err


def test_damaged_weights_are_refused(sg):
    finetuned(sg, "sentence")
    write_tensors("out/model.safetensors", {"x": np.zeros(3, np.float32)}, {})
    code, _, err = sg("predict out")
    assert code == 2 and "model.safetensors does not hold the tensors" in err
