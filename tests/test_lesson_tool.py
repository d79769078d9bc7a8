"""The lesson tool: reading a lesson, recording it, its page, its notebook, the terminal, the server and the rules."""

import http.client
import io
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from scratchgpt.backend import child_environment
from scratchgpt.cli import main
from scratchgpt.errors import InputError
from scratchgpt.lesson import Bars, Curves, Heat, tracer
from scratchgpt.lesson.cells import read_lesson
from scratchgpt.lesson.find import all_lessons, find_lesson
from scratchgpt.lesson.notebook import notebook
from scratchgpt.lesson.page import page
from scratchgpt.lesson.recording import record
from scratchgpt.lesson.rules import copies, form, run_as_script
from scratchgpt.lesson.serve import make_server
from scratchgpt.lesson.terminal import step_through
from scratchgpt.lesson.values import Pool
from scratchgpt.ops.reference import layer_norm_forward

TESTS = Path(__file__).parent
SMALL = TESTS / "small_lesson.py"
LESSONS = {path.parent.name: path for path in all_lessons()}


@pytest.fixture(scope="module")
def small():
    return read_lesson(SMALL)


@pytest.fixture(scope="module")
def recording(small):
    return record(small)


@pytest.fixture
def changed(tmp_path):
    """changed(old, new, ...) -> the small lesson, read from a file in which old became new."""

    def read(*replacements):
        source = SMALL.read_text(encoding="utf-8")
        for old, new in zip(replacements[::2], replacements[1::2]):
            assert old in source
            source = source.replace(old, new)
        path = tmp_path / "changed.py"
        path.write_text(source, encoding="utf-8")
        return read_lesson(path)

    return read


def refusal(function, *arguments):
    with pytest.raises(InputError) as refused:
        function(*arguments)
    return str(refused.value)


def steps_of(recording, run=0):
    first = recording["runs"][0]["steps"]
    one = recording["runs"][run]
    return first[: one["same"]] + one["steps"]


def value_of(recording, name, run=0, nth=-1):
    """The nth recorded value of a name, in any frame."""
    numbers = [changes[name] for _, changes, _ in steps_of(recording, run) if name in changes]
    return recording["values"][numbers[nth]]


def array_of(value):
    return np.array(value["v"]).reshape(value["shape"]) / 10.0 ** value["d"] * 10.0 ** value.get("e", 0)


def outermost(recording):
    """Lines of the lesson's own steps, in order."""
    depth, lines = 0, []
    for line, _, more in steps_of(recording):
        depth += "in" in more
        if depth == 0:
            lines.append(line)
        depth -= "out" in more
    return lines


def calls(recording):
    return Counter(more["in"][1] for _, _, more in steps_of(recording) if "in" in more)


# ---- reading


def test_a_lesson_has_cells_questions_a_slider_marks_and_homework(small):
    assert [cell.kind for cell in small.cells] == [
        "prose", "code", "question", "code", "code", "question", "code", "code", "prose",
    ]  # fmt: skip
    assert small.title == "A small lesson with </script> in its title"
    assert small.needs.startswith("About 2 minutes. You need nothing")
    assert (small.slider.name, small.slider.values) == ("shift", [-0.5, 0.0, 0.5, 1.0])
    assert sorted(small.marks.values()) == ["over", "skip"] and list(small.shorts.values()) == [5]
    assert small.homework == ["layer_norm"]
    assert [question.options for question in small.questions] == [["0", "`1`", "its *bias*"], ["1", "2"]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# %% [markdown]\n# # A small", "import os\n# %% [markdown]\n# # A small", ":1: expected"),
        ("# # A small lesson", "# A small lesson", "begins with"),
        ("# %% Values", "# %% [raw] Values", "not [raw]"),
        ("# About 2 minutes.", "About 2 minutes.", ":3:"),
        ("# It holds one", "It holds one", ":5:"),
        ("\n# <!-- answer: 2 if six == 6 else 1 -->", "", "has no line <!-- answer"),
        ("answer: 2 if six == 6 else 1 -->", "answer: 2 if -->", "is not a Python expression"),
        ("# - 1\n# - 2\n", "# - 1\n", "two or more different options"),
        ("# - 1\n# - 2\n", "# - 1\n# - `1`\n", "two or more different options"),
        ("# From 4 letters to 6 symbols.\n", "", "no explanation"),
        ("counter = np.zeros(3)", "counter = np.zeros(3  # open", "was never closed"),
        ("max:1.0, step:0.5", "max:1.0", "@param"),
        ("shift = 0.5  #", "shift = 0.3  #", "is not a position"),
        ("step:0.5", "step:0.001", "expected at most 64"),
        ("seen = 0", 'seen = 0  # @param {type:"slider", min:0, max:2, step:1}', "a second @param"),
        ("# @short 5", "# @short five", "not a Python literal"),
        ("seen = 0", "seen += 0  # @short 1", "NAME = VALUE"),
    ],
)
def test_a_lesson_that_breaks_the_format_is_refused_with_its_line(changed, old, new, said):
    message = refusal(changed, old, new)
    assert said in message and re.match(r".*changed\.py:\d+: ", message) and "\n" not in message


def test_a_mark_in_a_text_is_no_mark(changed):
    assert len(changed("print(merge.pair", 'print("# @skip", merge.pair').marks) == 2


# ---- recording


def test_steps_follow_the_statements_of_the_lesson(small, recording):
    source = small.source.splitlines()
    lines = [source[line - 1].split(" =")[0].split("(")[0].strip() for line in outermost(recording)]
    assert lines[:9] == ["counter", "counter[0]", "counter[1]", "point", "letters", "words", "wide", "nothing", "print"]
    assert "for _round in range" not in lines and "import numpy as np" not in lines
    assert lines[-2:] == ["assert np.allclose", "assert six"]


def test_a_value_is_recorded_as_it_was_at_the_step(recording):
    counters = [array_of(value_of(recording, "counter", nth=n)).tolist() for n in range(3)]
    assert counters == [[0, 0, 0], [1.5, 0, 0], [1.5, -2.5, 0]]


def test_the_library_is_stepped_into_and_its_values_are_right(small, recording):
    x = np.array([[1.0, 2.0, 6.0], [0.0, -1.0, 1.0]]) + 0.5 * np.eye(2, 3)
    out, (xhat, rstd, _) = layer_norm_forward(x, np.ones(3), np.zeros(3))
    assert recording["files"][1]["name"] == "scratchgpt/ops/reference.py"
    step = next(step for step in steps_of(recording) if step[2].get("in", [0, 0])[1] == "layer_norm_forward")
    assert list(step[1]) == ["x", "weight", "bias", "eps"]
    half = 0.5e-3 + 1e-12  # numbers of 1 to 10 are recorded to three decimals
    assert np.abs(array_of(value_of(recording, "out", nth=0)) - out).max() <= half
    assert np.abs(array_of(value_of(recording, "rstd", nth=0)) - rstd).max() <= half
    cache = value_of(recording, "cache", nth=0)
    assert cache["t"] == "tuple of 3" and [label for label, _ in cache["i"]] == ["[0]", "[1]", "[2]"]
    assert np.abs(array_of(recording["values"][cache["i"][0][1]]) - xhat).max() <= half


def test_skipped_and_stepped_over_code_has_no_steps_but_happens(recording):
    made = calls(recording)
    assert made["layer_norm_backward"] == 0 and value_of(recording, "dx")["shape"] == [2, 3]
    assert made["triangle"] == 1  # the 50 calls of the loop marked @skip are not there
    assert value_of(recording, "seen") == {"t": "int", "s": "50"}


def test_calls_out_of_a_comprehension_are_stepped_into(recording):
    assert calls(recording)["layer_norm_forward"] == 1 + 2


def test_a_generator_is_left_where_it_yields_and_entered_there_again(recording):
    steps = steps_of(recording)
    leaves = [k for k, (_, _, more) in enumerate(steps) if more.get("out", [""])[0] == "yields"]
    enters = [k for k, (_, _, more) in enumerate(steps) if "in" in more and more["in"][3]]
    assert len(leaves) == 2 and len(enters) == 2
    assert [steps[k][0] for k in leaves] == [steps[k][0] for k in enters]


def test_every_call_returns_to_its_caller(recording):
    for run in range(len(recording["runs"])):
        depth = 0
        for _, _, more in steps_of(recording, run):
            depth += "in" in more
            assert depth >= 0
            depth -= "out" in more
        assert depth == 0


def test_special_methods_properties_imports_and_class_bodies_are_no_steps(changed):
    lesson = changed(
        "nothing = object()",
        "from scratchgpt.models.gpt import GPT, GPTConfig\n"
        "config = GPTConfig(vocab_size=5, n_ctx=4, n_layer=1, n_head=1, n_embd=2)\n"
        "model = GPT(config, seed=0)\n"
        "head = model.head\n"
        "loss, loss_cache = model.loss({'input_ids': [[1, 2, 3]]})\n",
    )
    recording = tracer.record_here(lesson, value=0.5)
    made = calls(recording)
    assert made["loss"] == made["hidden"] == made["block_forward"] == 1
    assert not made.keys() & {"__init__", "__post_init__", "head", "read_batch", "parameter_spec", "Point", "<module>"}
    assert value_of(recording, "model") == {"t": "GPT", "s": "a GPT"}


def test_library_code_that_only_other_library_code_calls_is_not_stepped_into(changed):
    lesson = changed(
        "nothing = object()",
        "from scratchgpt.check import gradient\n"
        "report = gradient(layer_norm_forward, layer_norm_backward, (2, 3), (3,), (3,))\n",
    )
    assert calls(tracer.record_here(lesson, value=0.5))["layer_norm_forward"] == 3


def test_objectives_are_stepped_into_and_their_checks_are_not(changed):
    lesson = changed(
        "from scratchgpt.lesson import Bars, Curves, Heat",
        "from scratchgpt.lesson import Bars, Curves, Heat\nfrom scratchgpt.objectives import Vocabulary, mask_tokens",
        "counter = np.zeros(3)",
        "counter = np.zeros(3)\nmasked = mask_tokens([[1, 2]], Vocabulary(4, (0,), mask=0), np.random.default_rng(0))",
    )
    entered = calls(tracer.record_here(lesson, value=0.5))
    assert entered["mask_tokens"] == entered["mask_with"] == 1
    assert not {"check_ids", "check_rows", "check_rate", "refuse_rows_without_words"} & set(entered)


def test_memory_that_is_not_yet_written_is_shown_blank(changed):
    lesson = changed(
        "counter = np.zeros(3)", "counter = np.zeros(3)\nfloats, whole = np.empty(3), np.empty_like([7, 8])"
    )
    makers = np.empty, np.empty_like
    recording = tracer.record_here(lesson, value=0.5)
    assert value_of(recording, "floats")["v"] == ["nan"] * 3 and value_of(recording, "whole")["v"] == [0, 0]
    assert (np.empty, np.empty_like) == makers


def test_answers_are_computed_by_the_run(recording):
    assert recording["answers"] == [0, 1]


def test_an_answer_that_is_no_option_is_refused(changed):
    message = refusal(record, changed("answer: 2 if six == 6", "answer: 3 if six == 6"))
    assert "changed.py:" in message and "the run answers '3'; the options are '1', '2'" in message


def test_an_answer_that_stops_is_refused(changed):
    assert "NameError" in refusal(record, changed("answer: 2 if six == 6", "answer: 2 if seven == 6"))


def test_the_slider_runs_the_lesson_at_each_position(recording):
    assert [run["value"] for run in recording["runs"]] == [0.5, -0.5, 0.0, 1.0]
    for number, run in enumerate(recording["runs"]):
        x = array_of(value_of(recording, "x", number, nth=0))
        assert x[0, 0] == 1 + run["value"] and x[0, 1] == 2
        assert value_of(recording, "shift", number)["s"] == str(run["value"]).replace("-", "−")
        assert number == 0 or run["same"] > 0


def test_short_uses_the_values_of_a_quick_run(small):
    assert value_of(record(small, short=True, value=0.5), "seen") == {"t": "int", "s": "5"}


def test_an_error_in_a_lesson_is_said_with_its_line(changed):
    lesson = changed("assert six == 6 and", "assert six == 7 and")
    line = 1 + lesson.source[: lesson.source.index("assert six == 7")].count("\n")
    assert refusal(record, lesson) == f"{lesson.path}:{line}: AssertionError"
    lesson = changed("nothing = object()", "raise SystemExit(3)")
    assert "SystemExit: 3" in refusal(record, lesson)


def test_too_many_steps_are_refused(small, monkeypatch):
    monkeypatch.setattr(tracer, "MOST_STEPS", 20)
    assert "more than 20 steps; mark a loop with # @skip" in refusal(tracer.record_here, small)


def test_what_is_printed_belongs_to_its_cell_and_its_step(small, recording):
    output = recording["runs"][0]["output"]
    assert output[0] == [1, "</script><b>printed</b>\n"]
    assert [cell for cell, _ in output] == [1, 3, 4, 4, 6, 6]
    shown = recording["values"][output[1][1]]
    assert shown["t"] == "Heat" and "<table" in shown["h"] and "&lt;i&gt;" in shown["h"]
    counts = [more["printed"] for _, _, more in steps_of(recording) if "printed" in more]
    assert counts == sorted(counts) and counts[-1] == len(output)


def test_a_deleted_value_is_said_to_be_gone(recording):
    assert [more["gone"] for _, _, more in steps_of(recording) if "gone" in more] == [["doubled"]]


# ---- values


def test_values_are_stored_once_and_are_the_same_in_every_process():
    class Plain:
        pass

    pool = Pool()
    assert pool.put(np.arange(3.0)) == pool.put(np.arange(3.0)) != pool.put(np.arange(3))
    assert pool.values[pool.put(set("fedcba"))]["s"] == "{'a', 'b', 'c', 'd', 'e', 'f'}"
    assert pool.values[pool.put(Plain())]["s"] == "a Plain"
    pool.put([lambda: 0, Plain, Plain().__init__])
    assert "0x" not in json.dumps(pool.values)
    assert pool.values[pool.put(-0.1 + 0.3)]["s"] == "0.2"
    assert pool.values[pool.put(np.float32(-2))] == {"t": "float32", "s": "−2.0"}


@pytest.mark.parametrize("scale", [1e-30, 3e-7, 0.002, 0.3, 1, 25, 999.9, 12345.0, 1e20])
def test_recorded_numbers_have_four_digits_of_the_largest(scale):
    array = np.random.default_rng(0).normal(size=(3, 4)) * scale
    value = Pool()
    value = value.values[value.put(array)]
    assert np.abs(array_of(value) - array).max() <= 1e-3 * np.abs(array).max()
    assert all(isinstance(n, int) for n in value["v"])


def test_numbers_that_are_not_finite_are_words():
    pool = Pool()
    assert pool.values[pool.put(np.array([np.nan, np.inf, -np.inf, 1]))]["v"] == ["nan", "inf", "−inf", 1]


def test_a_cut_array_says_what_was_cut(recording):
    wide = value_of(recording, "wide")
    assert wide["shape"] == [16, 16] and wide["v"][17] == 101
    assert wide["n"] == "shown: the first 16 × 16 of 40 × 100; all of it: from 0 to 3999, mean 1999.5"
    pool = Pool()
    deep = pool.values[pool.put(np.zeros((5, 4, 30, 20)))]
    assert deep["shape"] == [1, 1, 16, 16] and "5 × 4 × 30 × 20" in deep["n"]
    assert "and 76 more of 100" in pool.values[pool.put({i: [i] for i in range(100)})]["n"]
    assert pool.values[pool.put(list(range(1000)))]["s"].endswith("more of 1,000")
    assert pool.values[pool.put("a" * 400)]["s"].endswith("more letters")


# ---- the page


class Outline(HTMLParser):
    """What a page is made of: tags, scripts, addresses, text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.data, self.words, self.inside = Counter(), [], "", "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags[tag] += 1
        self.inside = attributes.get("id", tag)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes and tag != "a"]

    def handle_data(self, text):
        if self.inside == "data":
            self.data += text
        self.words += text


def test_a_page_is_one_file_that_asks_for_nothing(small, recording):
    outline = Outline(page(small, recording))
    assert outline.addresses == ["data:,"]
    assert outline.tags["script"] == 2 and outline.tags["style"] == 1
    assert outline.tags["iframe"] == outline.tags["img"] == 0


def test_a_page_escapes_what_a_lesson_holds(small, recording):
    text = page(small, recording)
    outline = Outline(text)
    assert outline.tags["script"] == text.count("</script>") == 2
    data = json.loads(outline.data)
    assert data["recording"]["runs"][0]["output"][0][1] == "</script><b>printed</b>\n"
    assert any(value.get("s") == "[1, 2]" for value in data["recording"]["values"])
    assert "<b>at all</b>" not in text and "&lt;b&gt;at all&lt;/b&gt;" in text
    assert "A small lesson with &lt;/script&gt; in its title" in text
    assert '<template data-file="scratchgpt/ops/reference.py"><div class="line" data-line="1">' in text


def test_a_page_can_be_read_without_a_script(small, recording):
    words = Outline(page(small, recording)).words
    assert "It holds one of everything" in words and "Each row is centred first." in words
    for line in small.lines():
        assert line.startswith("#") or line in words


def test_a_page_shows_no_comment_that_speaks_to_the_tool(small, recording):
    shown = page(small, recording).partition('id="article"')[2].partition('id="library"')[0]
    assert "@dataclass" in shown and not re.search("@(param|skip|over|short)", shown)


def test_a_page_has_the_same_bytes_in_every_process(tmp_path):
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "scratchgpt.cli", "lesson", "build", str(SMALL), "--out", tmp_path / seed]
        subprocess.run(command, check=True, env=child_environment(PYTHONHASHSEED=seed), stdout=subprocess.DEVNULL)
    first, second = ((tmp_path / seed / "small_lesson.html").read_bytes() for seed in ("1", "2"))
    assert first == second
    assert b" at 0x" not in first


# ---- display objects


def test_display_objects_print_signs_and_labels():
    heat = Heat([[1.0, -0.5], [0.0, np.inf]], rows=["<a>", "b"], title="T & U")
    assert "−0.500" in repr(heat) and "inf" in repr(heat)
    html = heat._repr_html_()
    assert "&lt;a&gt;" in html and "T &amp; U" in html and "−0.500" in html
    assert html.count("220,38,38") == 1 and html.count("37,99,235") == 1  # red where negative, blue where positive
    bars = Bars({"up": 2, "down": -1.5}, unit="nats")
    assert "−1.5 nats" in repr(bars) and "−1.5 nats" in bars._repr_html_()
    curves = Curves({"a": [1, 2, 3], "b": [3, 2, 1]}, lines={"mean": 2}, xlabel="step", ylabel="nats", title="T")
    for shown in (repr(curves), curves._repr_html_()):
        assert all(word in shown for word in ("a", "b", "mean", "step", "nats"))
    assert "stroke-dasharray" in curves._repr_html_()  # a curve is known by its dashes too


def test_a_display_object_keeps_what_it_showed():
    matrix = np.zeros((2, 2))
    heat = Heat(matrix)
    matrix += 1
    assert "1" not in heat._repr_html_().replace("<th", "").split("</tr>", 1)[1].replace('scope="row">1', "")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Heat(np.zeros((2, 2, 2))), "(2, 2, 2)"),
        (lambda: Heat(np.zeros((2, 2)), rows=["a"]), "1 rows for a matrix that has 2"),
        (lambda: Bars({}), "no values"),
        (lambda: Bars({"a": np.nan}), "nan"),
        (lambda: Curves({}), "no finite point"),
        (lambda: Curves({"a": [1, 2]}, x=[1]), "2 points and x has 1"),
        (lambda: Curves({"a": [0, 2]}, log=True), "positive"),
    ],
)
def test_display_objects_refuse_what_they_cannot_show(make, said):
    assert said in refusal(make)


@pytest.mark.parametrize("curves", [
    Curves({"a": [5]}), Curves({"a": [1, np.nan, 3]}), Curves({"a": [0, 0]}), Curves({"a": [1e-9, 1e3]}, log=True),
    Curves({"a": [1, 2], "b": [1, 2, 3]}, lines={"c": -7}),
])  # fmt: skip
def test_curves_stay_inside_their_picture(curves):
    html = curves._repr_html_()
    assert "nan" not in html and "inf" not in html.replace("inferred", "")
    for x, y in re.findall(r'<text x="(-?[\d.]+)" y="(-?[\d.]+)" text', html):
        assert 0 <= float(x) <= 560 and 0 <= float(y) <= 300


# ---- notebooks


def test_a_notebook_is_nbformat_4_5_without_outputs(small):
    text = notebook(small)
    book = json.loads(text)
    assert text == notebook(read_lesson(SMALL))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    names = [cell["id"] for cell in book["cells"]]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    for cell in book["cells"]:
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | (
            {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        )
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


def test_a_notebook_installs_only_what_is_missing_and_runs_what_the_lesson_runs(small):
    cells = json.loads(notebook(small))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert 'find_spec("scratchgpt") is None' in code[0] and code[0].count("pip install") == 1
    namespace = {"__name__": "__main__"}
    for source in code[1:]:
        exec(source, namespace)
    assert namespace["six"] == 6
    assert not re.search("@(skip|over|short)", "".join(code)) and "@param" in "".join(code)


def test_a_notebook_explains_after_the_code_that_answers(small):
    cells = ["".join(cell["source"]) for cell in json.loads(notebook(small))["cells"]]
    asked = next(k for k, text in enumerate(cells) if text.startswith("**Predict first.**"))
    assert "- its *bias*" in cells[asked] and "layer_norm_forward(x" in cells[asked + 1]
    assert cells[asked + 2] == "Each row is **centred** first."


@pytest.mark.parametrize("name", LESSONS)
def test_the_notebook_beside_a_lesson_is_what_the_tool_writes(name):
    path = Path(__file__).parents[1] / "lessons" / name / "lesson.ipynb"  # an installed package has none
    assert path.read_text(encoding="utf-8") == notebook(read_lesson(LESSONS[name])), "run: scratchgpt lesson notebook"


# ---- commands


def said(capsys, *arguments):
    code = main(["lesson", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_names_every_lesson_with_its_needs_and_homework(capsys):
    code, out, _ = said(capsys, "list")
    assert code == 0
    for path in LESSONS.values():
        lesson = read_lesson(path)
        assert lesson.title in out and all(name in out for name in lesson.homework)


def test_a_lesson_is_found_by_number_name_or_path():
    (first, path) = next(iter(LESSONS.items()))
    number, _, topic = first.partition("_")
    for name in (number, str(int(number)), topic, first, str(path)):
        assert find_lesson(name) == path


@pytest.mark.parametrize("name", ["atention", "03_atention", "99", "nothing.py", "lessons/nothing"])
@pytest.mark.parametrize("action", ["open", "build", "check", "notebook"])
def test_a_lesson_that_does_not_exist_is_one_line_and_exit_code_2(capsys, action, name):
    code, out, err = said(capsys, action, name)
    assert (code, out) == (2, "") and err.count("\n") == 1 and name in err
    assert "atention" not in name or "did you mean 03_attention?" in err


def test_build_writes_the_page_and_its_size(capsys, tmp_path, small, recording):
    code, out, err = said(capsys, "build", SMALL, "--out", tmp_path / "new")
    text = (tmp_path / "new" / "small_lesson.html").read_text(encoding="utf-8")
    assert (code, err) == (0, "") and f"{len(text.encode()):,} bytes" in out
    assert text == page(small, recording)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["small_lesson.html"]


def test_open_prints_the_page_and_shows_it_in_the_browser(capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    code, out, _ = said(capsys, "open", SMALL, "--short")
    assert code == 0 and opened == [Path(out.strip()).as_uri()] and Path(out.strip()).stat().st_size > 1000
    assert said(capsys, "open", SMALL, "--short", "--no-browser")[0] == 0 and len(opened) == 1


def test_notebook_writes_where_it_is_told(capsys, tmp_path, small):
    code, out, _ = said(capsys, "notebook", SMALL, "--out", tmp_path)
    assert code == 0 and out.strip() == str(tmp_path / "small_lesson.ipynb")
    assert Path(out.strip()).read_text(encoding="utf-8") == notebook(small)


def test_the_installed_package_has_the_lessons_and_every_package():
    root = TESTS.parent
    listed = set(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(root).parts) for path in root.glob("scratchgpt/**/__init__.py")}
    assert listed == found | {"scratchgpt.lessons"}, "packages in pyproject.toml"


# ---- rules


def test_check_passes_a_lesson_that_keeps_the_rules(capsys):
    assert said(capsys, "check", SMALL, "--short")[:2] == (0, "small_lesson     ok\n")


def test_check_fails_with_every_broken_rule_on_a_line(capsys, changed):
    lesson = changed("About 2 minutes", "About", "assert six == 6 and", "assert six == 7 and", "start layer_norm", "no")
    code, out, err = said(capsys, "check", lesson.path, "--short")
    assert (code, err) == (1, "") and len(out.splitlines()) == 3
    assert "reading time" in out and "names no homework" in out and "AssertionError" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("About 2 minutes", "Some time", "reading time"),
        ("assert np.allclose(out.mean(-1), 0)\nassert six == 6 and seen == rounds", "six", "asserts nothing"),
        ("start layer_norm", "start layers", "homework that does not exist: layers"),
        ("From 4 letters", "![4](four.png) letters", "shows an image"),
    ],
)
def test_a_broken_rule_of_form_is_named(changed, old, new, said):
    (broken,) = form(changed(old, new))
    assert said in broken


def test_a_lesson_with_one_question_breaks_a_rule(changed):
    source = SMALL.read_text(encoding="utf-8")
    second = source[source.index("# %% [markdown] predict\n# How many") : source.index("# %% Shown")]
    (broken,) = form(changed(second, ""))
    assert "asks 1 questions" in broken


def test_six_lines_of_the_library_are_a_copy_and_five_are_not(changed):
    lines = (TESTS.parent / "scratchgpt/ops/reference.py").read_text(encoding="utf-8").splitlines()
    start = lines.index("    grad = grad * grad_scale")
    copied = [line for line in lines[start:] if line][:6]
    whole = changed("nothing = object()", "nothing = 0\nif nothing:\n" + "\n".join(copied))
    (broken,) = copies(whole)
    assert "scratchgpt/ops/reference.py" in broken and "import it" in broken
    part = changed("nothing = object()", "nothing = 0\nif nothing:\n" + "\n".join(copied[:5]))
    assert not list(copies(part))


def test_a_warning_fails_a_lesson_as_a_script(changed):
    lesson = changed("nothing = object()", "nothing = np.zeros(1) / 0")
    message = refusal(run_as_script, lesson)
    assert (
        "RuntimeWarning" in message and f"line {1 + lesson.source[: lesson.source.index('nothing =')].count(chr(10))}"
    )


# ---- the server


@pytest.fixture(scope="module")
def server(small):
    server = make_server(small, port=0, short=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asked(server, path, method="GET", **headers):
    """(status, body) of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    headers = {"Host": f"127.0.0.1:{server.server_port}"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read().decode("utf-8")
    connection.close()
    return reply.status, body


def test_the_server_listens_on_the_loopback_address_alone(server):
    assert server.server_address[0] == "127.0.0.1"


def test_the_server_gives_the_page_and_any_value_of_the_slider(server):
    status, body = asked(server, "/")
    assert status == 200 and "connect-src 'self'" in body
    status, body = asked(server, "/run?value=0.37")
    recording = json.loads(body)
    assert status == 200 and [run["value"] for run in recording["runs"]] == [0.37]
    assert array_of(value_of(recording, "x", nth=0))[0, 0] == 1.37
    assert "html" in recording["files"][1] and "source" not in recording["files"][1]


@pytest.mark.parametrize(
    "value", ["", "one", "nan", "inf", "1.01", "-0.6", "__import__('os')", "0x1", "1e400", "0.5;0.5", "1" * 5000]
)
def test_the_server_runs_numbers_in_range_and_nothing_else(server, value):
    status, body = asked(server, f"/run?value={quote(value)}")
    assert status == 400 and "shift is" in body and "expected a number from -0.5 to 1" in body and "\n" not in body


@pytest.mark.parametrize("path", ["/run", "/run?other=1", "/etc/passwd", "/../tests", "/index.html"])
def test_the_server_has_nothing_else(server, path):
    assert asked(server, path)[0] == (400 if path.startswith("/run") else 404)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", ""])
def test_the_server_refuses_other_hosts(server, host):
    assert asked(server, "/", Host=host)[0] == 403


def test_the_server_refuses_requests_from_other_sites_and_other_methods(server):
    assert asked(server, "/run?value=0.5", Sec_Fetch_Site="cross-site")[0] == 403
    assert asked(server, "/", method="POST")[0] == 501


def test_a_port_in_use_is_one_line(capsys, server):
    code, out, err = said(capsys, "open", SMALL, "--short", "--serve", "--no-browser", "--port", server.server_port)
    assert (code, out) == (2, "") and err.count("\n") == 1 and f"port {server.server_port}" in err and "--port" in err


# ---- the terminal


def typed(monkeypatch, capsys, lesson, *commands):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{command}\n" for command in commands)))
    step_through(lesson)
    return capsys.readouterr().out


def test_the_terminal_steps_over_into_out_and_back(monkeypatch, capsys, small):
    out = typed(monkeypatch, capsys, small, "", "n", "b", "b", "c", "", "s", "", "", "i", "i", "o", "b", "q")
    steps = re.findall(r"step (\d+) of", out)
    assert steps[:4] == ["1", "2", "1", "9"]  # b at the first step leads to the beginning, which is no step
    assert "At the beginning: nothing has run." in out
    assert "layer_norm_forward is called" in out and "scratchgpt/ops/reference.py, layer_norm_forward" in out
    assert steps[4:] == ["10", "11", "12", "13", "14", "19", "12"]  # back is before the call


def test_the_terminal_asks_for_a_prediction_before_it_shows_the_result(monkeypatch, capsys, small):
    for said, verdict in (("1", "Right."), ("3", "Not so."), ("s", "Skipped.")):
        out = typed(monkeypatch, capsys, small, "c", "c", "nonsense", said, "q")
        assert out.index("Predict first.") < out.index(verdict) < out.index("cell 2 of 5")
        assert "The run gives: 0" in out
    out = typed(monkeypatch, capsys, small, "c", "c")
    assert "The run gives" not in out and "cell 2 of 5" not in out  # the input ended at the question


def test_the_terminal_runs_to_the_end_and_shows_what_is_printed(monkeypatch, capsys, small):
    out = typed(monkeypatch, capsys, small, "c", "c", "1", "c", "c", "2", "c", "c", "", "v six", "v nobody")
    assert "cell 5 of 5" in out and "The end of the lesson." in out and "Your turn" in out
    assert "minus two" in out and "−2 nats" in out and "rising" in out
    assert re.search(r"six +int +6", out) and "there is no value 'nobody' here" in out
    assert "shown: the first 16 × 16" not in out  # values that did not change are named, not shown
