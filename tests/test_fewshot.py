"""scratchgpt fewshot: likelihoods of answers, prompts and their demonstrations, what is printed and what is refused."""

import json
import re

import numpy as np
import pytest
import strict_device
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt import fewshot, interop
from scratchgpt.cli import main
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.fewshot import Prompter, answer, log_likelihoods, wording
from scratchgpt.models.bert import BERT, BERTConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.heads import put_head
from scratchgpt.models.llama import Llama, LlamaConfig
from scratchgpt.models.moe import MoEConfig
from scratchgpt.models.t5 import T5, T5Config
from scratchgpt.ops import table
from scratchgpt.optim import AdamW
from scratchgpt.tasks import ChoiceExample, PairExample, SentenceExample, read, split
from scratchgpt.tokenizers import BPETokenizer

WORDS = "sun rain snow wind stone river cloud leaf"
EXAMPLES = [SentenceExample(f"{mood} {a} {b}", {"good": "yes", "bad": "no"}[mood], group=None, where=f"x, line {a}{b}")
            for mood in ("good", "bad") for a in WORDS.split() for b in WORDS.split()]  # fmt: skip


def gpt(vocab_size, dtype="float64", **sizes):
    return GPT(GPTConfig(vocab_size, **({"n_ctx": 12, "n_layer": 2, "n_head": 2, "n_embd": 12} | sizes)), 1, dtype)


def models():
    moe = {"n_inner": 10, "moe": MoEConfig(4, 2)}
    return {
        "GPT": gpt(31, init="gpt2"),
        "GPT with experts": gpt(31, **moe),
        "Llama": Llama(LlamaConfig(31, 12, 2, 2, 12, n_inner=10, n_kv_head=1), 1, "float64"),
    }


# ---- likelihoods

IDS = st.lists(st.integers(0, 30), min_size=1, max_size=6)
QUESTIONS = st.lists(st.tuples(IDS, st.lists(IDS, min_size=1, max_size=4)), min_size=1, max_size=5)


def directly(model, prompt, ids):
    """log p(ids | prompt) from the logits of the two alone."""
    logits = model.logits({"input_ids": [[*prompt, *ids]]})[0]  # (T, V)
    total = 0.0
    for place, token in enumerate(ids, len(prompt) - 1):
        total += logits[place, token] - np.logaddexp.reduce(logits[place])
    return total


@pytest.mark.parametrize("name", models())
@given(questions=QUESTIONS)
def test_likelihoods_are_those_of_the_logits(name, questions):
    model = models()[name]
    found = log_likelihoods(model, questions)
    for values, (prompt, answers) in zip(found, questions):
        expected = [directly(model, prompt, ids) for ids in answers]
        np.testing.assert_allclose(values, expected, rtol=1e-10)  # float64, in rows of other lengths


def test_likelihoods_do_not_depend_on_what_runs_at_once(monkeypatch):
    rng, model = np.random.default_rng(0), gpt(31)
    questions = [(rng.integers(0, 31, n % 5 + 2).tolist(), [[3], [4, 5], [4, 6, 7]]) for n in range(20)]
    together = log_likelihoods(model, questions)
    monkeypatch.setattr(fewshot, "TOKENS_AT_ONCE", 1)
    for alone, values in zip(log_likelihoods(model, questions), together):
        np.testing.assert_allclose(alone, values, rtol=1e-12)  # float64


def test_likelihoods_are_the_same_on_a_device():
    questions = [([1, 2], [[3], [4, 5]]), ([6], [[7, 8], [9]])]
    host, device = (GPT(GPTConfig(31, 12, 2, 2, 12), 1, ops=table("reference"), xp=xp) for xp in (np, strict_device))
    for ours, theirs in zip(log_likelihoods(host, questions), log_likelihoods(device, questions)):
        np.testing.assert_array_equal(ours, theirs)


def test_answers_of_one_token_take_one_row_together():
    assert fewshot.rows_of([1, 2], [[3], [4], [5]]) == [(1, 2)] * 3
    assert fewshot.rows_of([1, 2], [[3], [4, 5], [4, 5, 6], [5, 6]]) == [(1, 2, 4, 5)] * 3 + [(1, 2, 5)]


def test_a_row_serves_prompts_of_different_lengths():
    model, questions = gpt(31), [([1], [[2, 3]]), ([1, 2], [[4]]), ([1, 2], [[3]])]
    found = log_likelihoods(model, questions)
    expected = [[directly(model, prompt, ids) for ids in answers] for prompt, answers in questions]
    np.testing.assert_allclose(found, expected, rtol=1e-10)  # float64


def test_a_model_that_diverged_has_no_likelihoods():
    model = gpt(31)
    model.params.p.wte[5] = np.inf
    with pytest.raises(NonFiniteError, match="not a finite number"):
        log_likelihoods(model, [([5], [[1], [2]])])


def test_answers_follow_something():
    with pytest.raises(InputError, match="no tokens before the answers"):
        log_likelihoods(gpt(31), [([1], [[2]]), ([], [[1], [2]])])


# ---- prompts


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(f"Text: good bad {WORDS}\nLabel: yes no\n\n" * 3, 300)


def test_a_prompt_is_demonstrations_with_answers_and_then_the_question(tokenizer):
    pairs = [PairExample("a b", "c", "next"), PairExample("d", "e f", "not next")]
    prompt = Prompter(tokenizer, pairs, 1000).prompt(PairExample("g", "h", "next"), 0, 2)
    first, second, asked = prompt.text.split("\n\n")
    assert {first, second} == {"First: a b\nSecond: c\nLabel: next", "First: d\nSecond: e f\nLabel: not next"}
    assert asked == "First: g\nSecond: h\nLabel:"
    assert list(map(tokenizer.decode, prompt.answers)) == [" next", " not next"]
    assert prompt.ids == tokenizer.encode(prompt.text) and prompt.shots == 2


def test_a_choice_is_asked_for_by_going_on(tokenizer):
    train = [ChoiceExample("Rain fell.", ("It was dry.", "It was wet."), 1)]
    prompt = Prompter(tokenizer, train, 1000).prompt(ChoiceExample("Snow fell.", ("Cold.", "Hot.", "Red."), 0), 0, 1)
    assert prompt.text == "Rain fell. It was wet.\n\nSnow fell."
    assert list(map(tokenizer.decode, prompt.answers)) == [" Cold.", " Hot.", " Red."]


def test_demonstrations_come_from_training_and_by_the_seed(tokenizer):
    train, asked = split(EXAMPLES)
    shown = [
        [Prompter(tokenizer, train, 1000, seed).demonstrations(n, 6) for n in range(len(asked))] for seed in (0, 0, 1)
    ]
    assert shown[0] == shown[1] != shown[2]
    texts = {text for each in shown[0] for text in each}
    own = {f"Text: {e.text}\nLabel: {e.label}\n\n" for e in train}
    assert texts <= own and len(texts) > 6  # each example has others
    assert all(len(set(each)) == 6 for each in shown[0])
    prompter = Prompter(tokenizer, train, 1000)
    assert prompter.demonstrations(3, 2) == prompter.demonstrations(3, 6)[-2:]


def test_where_the_context_is_full_there_are_fewer_shots(tokenizer):
    train, asked = split(EXAMPLES)
    whole = Prompter(tokenizer, train, 1000).prompt(asked[0], 0, 3)
    longest = max(map(len, whole.answers))
    for n_ctx in range(len(whole.ids) + longest - 1, 12, -1):
        prompt = Prompter(tokenizer, train, n_ctx).prompt(asked[0], 0, 3)
        assert whole.text.endswith(prompt.text) and len(prompt.ids) + longest - 1 <= n_ctx
        assert len(whole.text.removesuffix(prompt.text).split("\n\n")) - 1 == 3 - prompt.shots
    assert Prompter(tokenizer, train, len(whole.ids) + longest - 1).prompt(asked[0], 0, 3) == whole
    assert prompt.shots == 0


def test_an_example_that_does_not_fit_is_refused_or_cut_at_its_beginning(tokenizer):
    example = SentenceExample("good " + 20 * "sun ", "yes", where="x.tsv, line 7")
    with pytest.raises(
        InputError, match=r"x\.tsv, line 7: the example takes (\d+) tokens .* context has 12: give --trunc"
    ):
        Prompter(tokenizer, EXAMPLES, 12).prompt(example, 0, 2)
    prompt = Prompter(tokenizer, EXAMPLES, 12, truncate=True).prompt(example, 0, 2)
    whole = Prompter(tokenizer, EXAMPLES, 1000).prompt(example, 0, 0)
    kept = 12 + 1 - max(map(len, whole.answers))
    assert prompt.cut and prompt.shots == 0 and prompt.ids == whole.ids[-kept:] and prompt.text.endswith("sun \nLabel:")


def test_more_shots_than_training_examples_are_refused(tokenizer):
    with pytest.raises(InputError, match="5 shots; there are only 3 training examples"):
        Prompter(tokenizer, EXAMPLES[:3], 1000).prompt(EXAMPLES[5], 0, 5)


def test_likelihoods_are_normalized_as_gpt3s(tokenizer):
    model = gpt(tokenizer.vocab_size, n_ctx=60)
    train = [ChoiceExample("Rain fell.", ("It was dry.", "It was wet."), 1)]
    prompts = [Prompter(tokenizer, train, 60).prompt(ChoiceExample("Snow fell.", ("Cold.", "It was hot."), 0), 0, 1)]
    plain, tokens, unconditional = (
        answer(model, prompts, how).likelihoods[0] for how in ("none", "tokens", "unconditional")
    )
    assert tokens.tolist() == [x / len(ids) for x, ids in zip(plain, prompts[0].answers)]
    bare = [directly(model, tokenizer.encode("\n"), ids) for ids in prompts[0].answers]
    np.testing.assert_allclose(unconditional, plain - bare, rtol=1e-10)  # float64
    labelled = Prompter(tokenizer, EXAMPLES, 60).prompt(EXAMPLES[0], 0, 1)
    assert tokenizer.decode(labelled.alone) == "Label:"


# ---- the command


@pytest.fixture(scope="module")
def directory(tokenizer, tmp_path_factory):
    """A GPT that has read many prompts of the task."""
    model, prompter = gpt(tokenizer.vocab_size, "float32", n_ctx=64, n_embd=32), Prompter(tokenizer, EXAMPLES, 64)
    optimizer, shards = AdamW(model.params, model.ops), Shards(model, threads=1)
    for step in range(200):
        rows = [tokenizer.encode("".join(prompter.demonstrations(1000 * step + n, 6)))[:60] for n in range(8)]
        width = min(map(len, rows))
        shards.loss_and_grad([{"input_ids": [row[:width] for row in rows]}])
        optimizer.step(3e-3, max_norm=1.0)
    path = tmp_path_factory.mktemp("gpt")
    interop.save(model, path, tokenizer)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "moods.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{e.text}\t{e.label}\n" for e in EXAMPLES))
    return path


def said(capsys, *arguments):
    """(exit code, standard output, standard error) of one command."""
    code = main([str(word) for word in ("fewshot", *arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def table_of(out):
    """{first column: the rest} of the last table printed."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


def test_a_model_that_knows_the_task_is_right_and_says_how_it_was_asked(capsys, directory, file):
    code, out, err = said(capsys, directory, "--task", file, "--shots", "2,0")
    assert (code, err) == (0, "")
    table = table_of(out)
    assert table["0"][0] == table["2"][0] == "1.000 ± 0.000" and table["chance"][0] == "0.500"
    assert 0.2 < float(table["always no"][0].split()[0]) < 0.8
    train, asked = split(read(file, "sentence"))
    prompt = Prompter(interop.load_tokenizer(directory), train, 64).prompt(asked[0], 0, 2)
    assert f"The prompt of {asked[0].where}, with 2 shots:\n\n{prompt.text}\n" in out  # the whole of it
    assert f"{len(asked)} examples" in out and f"{len(train)} others" in out


def test_what_is_printed_is_what_the_logits_say(capsys, directory, file):
    _, out, _ = said(capsys, directory, "--task", file, "--shots", "1", "--examples", "5", "--seed", "3")
    train, asked = split(read(file, "sentence"), seed=3)
    asked = fewshot.drawn(asked, 5, np.random.default_rng(3))
    model, tokenizer = fewshot.load_gpt(directory)
    prompt = Prompter(tokenizer, train, 64, 3).prompt(asked[0], 0, 1)
    no, yes = (directly(model, prompt.ids, ids) for ids in prompt.answers)
    table = table_of(out)
    assert [float(table[repr(name)][0]) for name in (" no", " yes")] == pytest.approx([no, yes], abs=2e-3)  # 3 digits
    right, wrong = (" yes", " no") if asked[0].label == "yes" else (" no", " yes")
    assert table[repr(right)][1] == "right and likeliest" and table[repr(wrong)][1] == ""
    assert "accuracy on 5 examples" in out


def test_shots_that_did_not_fit_and_examples_that_were_cut_are_counted(capsys, directory, file, tmp_path):
    _, out, _ = said(capsys, directory, "--task", file, "--shots", "0,40")
    table = table_of(out)
    assert re.fullmatch(r"12 had fewer: \d\.\d on average", table["40"][1]) and table["0"][1] == ""
    long = tmp_path / "long.tsv"
    long.write_text("text\tlabel\n" + "".join(f"{e.text} {'sun ' * 80}\t{e.label}\n" for e in EXAMPLES))
    code, out, err = said(capsys, directory, "--task", long, "--shots", "0")
    assert (code, out) == (2, "") and "give --truncate" in err and err.count("\n") == 1
    _, out, _ = said(capsys, directory, "--task", long, "--shots", "0", "--truncate")
    assert ", with 0 shots, its beginning cut:" in out and table_of(out)["0"][1] == "12 were cut"


def test_pairs_and_choices_are_asked_too(capsys, directory, tmp_path):
    for task, columns in (
        ("pair", {"first": "good", "second": "bad", "label": "x"}),
        ("choice", {"context": "good", "choices": ["sun", "rain", "snow"], "label": 1}),
    ):
        path = tmp_path / f"{task}.jsonl"
        path.write_text("".join(json.dumps(columns) + "\n" for _ in range(20)))
        code, out, err = said(capsys, directory, "--task", path, "--shots", "0,1", "--normalize", "unconditional")
        assert (code, err) == (0, "") and "over that without the example" in out
        table = table_of(out)
        assert table["chance"][0] == {"pair": "1.000", "choice": "0.333"}[task]
        assert ("always x" in table) == (task == "pair") and set(table["0"][0].split()) >= {"±"}


def test_the_sets_of_the_package_are_known_by_their_names(capsys, directory):
    arguments = ("--shots", "0", "--examples", "3", "--truncate")
    code, out, err = said(capsys, directory, "--task", "next-sentence", *arguments)
    assert (code, err) == (0, "") and "next-sentence: accuracy on 3 examples" in out
    code, out, err = said(capsys, directory, "--task", "next-sentence-choice", *arguments)
    assert (code, out) == (2, "") and re.search(
        r"line \d+: an answer takes \d+ tokens; the model's context has 64", err
    )


def test_another_family_of_models_is_refused(capsys, tokenizer, file, tmp_path):
    sizes = {"n_ctx": 16, "n_layer": 1, "n_head": 2, "n_embd": 8}
    bert = BERT(BERTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    head = put_head(gpt(tokenizer.vocab_size), "sentence", ("no", "yes"))
    for name, model in (("BERT", bert), ("T5", T5(T5Config(tokenizer.vocab_size, n_inner=8, **sizes))), ("", head)):
        interop.save(model, tmp_path / "other", None)
        code, out, err = said(capsys, tmp_path / "other", "--task", file)
        assert (code, out) == (2, "") and f"holds a {name}" in err and "expected a GPT or a Llama" in err
        assert err.count("\n") == 1


def test_what_cannot_be_asked_is_told_in_one_line(capsys, directory, file, tmp_path):
    unknown = tmp_path / "unknown.tsv"
    unknown.write_text("text\tlabel\tgroup\n" + "".join(f"hi\t{n}\t{n}\n" for n in range(20)))
    empty = tmp_path / "empty.csv"
    empty.write_text("first,second,label\na,b,x\na,,x\n")
    for arguments, words in (
        (("--task", empty), "empty.csv, line 3: second is empty"),
        (("--task", file, "--shots", "1,two"), "--shots is '1,two'; expected numbers"),
        (("--task", file, "--shots", "-1"), "--shots is '-1'"),
        (("--task", file, "--shots", ""), "--shots is ''"),
        (("--task", file, "--shots", "9" * 5000), "--shots is '99"),
        (("--task", file, "--shots", "500"), "500 shots; there are only 116 training examples"),
        (("--task", file, "--examples", "0"), "--examples is 0; expected 1 or more"),
        (("--task", file, "--seed", "-1"), "--seed is -1; expected 0 or more"),
        (("--task", "synthetic-spans"), "synthetic-spans is for the task span; expected one of sentence, pair, choice"),
        (("--task", tmp_path / "no.tsv"), "no.tsv does not exist"),
        (("--task", tmp_path / "a.xml"), "a.xml does not exist"),
        (("--task", unknown), "unknown.tsv, line 20: the label '18' is unknown"),
        (("--task", file, "--normalize", "length"), "invalid choice: 'length'"),
    ):
        code, out, err = said(capsys, directory, *arguments)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1, (arguments, err)
    code, out, err = said(capsys, tmp_path, "--task", file)
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_wording_names_what_it_shows():
    assert wording(EXAMPLES[0], ("no", "yes")) == ("Text: good sun sun\nLabel:", [" no", " yes"])
