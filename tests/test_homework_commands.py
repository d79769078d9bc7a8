"""`scratchgpt homework list|start|check|train|report`, as students and teachers use them."""

import ast
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scratchgpt.cli import main
from scratchgpt.homework import formats
from scratchgpt.homework.classroom import mistakes
from scratchgpt.homework.exercises import exercise_names, find_exercise
from scratchgpt.homework.grade import check
from scratchgpt.homework.start import body_of, is_adapter, starter
from scratchgpt.homework.student import broken_rules

CATALOGUE = Path(__file__).parent / "homework"
GAP = '    raise NotImplementedError("your turn")\n'
LABELS = [
    label for name in exercise_names() for label in (name, *(f"{name}/{v}" for v in find_exercise(name).variants))
]
PAIRS = [name for name in exercise_names() if any(f.__name__.endswith("_forward") for f in find_exercise(name).cut)]


def exercise_called(label):
    name, _, variant = label.partition("/")
    return find_exercise(name).variants[variant] if variant else find_exercise(name)


def paste_back(text, functions):
    for function in functions:
        before, after = text.split(f"def {function.__name__}(", 1)
        assert GAP in after
        text = f"{before}def {function.__name__}({after.replace(GAP, body_of(function) + chr(10), 1)}"
    return text


def grade_text(text, tmp_path):
    path = tmp_path / "answer.py"
    path.write_text(text, encoding="utf-8")
    return check(path)


@pytest.fixture
def right_layer_norm(tmp_path):
    exercise = find_exercise("layer_norm")
    path = tmp_path / "layer_norm.py"
    path.write_text(paste_back(starter(exercise, "layer_norm"), exercise.cut), encoding="utf-8")
    return path


@pytest.fixture
def wrong_layer_norm(right_layer_norm):
    text = right_layer_norm.read_text()
    assert "\n    dx *= rstd" in text
    right_layer_norm.write_text(text.replace("\n    dx *= rstd", ""))
    return right_layer_norm


# ---- list, start


def test_list_names_every_exercise(capsys):
    assert main(["homework", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in exercise_names())
    assert len(exercise_names()) >= 12


@pytest.mark.parametrize("label", LABELS)
def test_started_file_keeps_the_rules_and_waits_to_be_written(label, tmp_path):
    exercise = exercise_called(label)
    text = starter(exercise, label)
    assert text.startswith(f"# scratchgpt homework: {label}\n")
    assert not broken_rules(text)
    report = grade_text(text, tmp_path)
    assert report.score == 0 and not report.refusals
    assert {id for row in report.rows for each in row.explanations for id in each.ids} == {"unwritten"}
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    given, _, own = text.rpartition("# ---- yours")
    assert given or len(functions) == len(exercise.cut)
    for function in exercise.cut:
        assert f"def {function.__name__}(" in own and max(map(len, text.splitlines())) <= 120
        assert ast.get_docstring(functions[function.__name__]), f"{function.__name__} has no docstring"


def test_started_file_brings_nothing_of_the_diagnosis():
    from scratchgpt.homework.exercises import kv_cache

    text = starter(kv_cache.EXERCISE, "kv_cache")
    brought = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    own = {name for name, value in vars(kv_cache).items() if getattr(value, "__module__", "") == kv_cache.__name__}
    assert brought & own == {"decode"}  # `out` and `store` are also names of locals


@pytest.mark.parametrize("label", [label for label in LABELS if not is_adapter(exercise_called(label))])
def test_library_code_pasted_back_is_all_right(label, tmp_path):
    exercise = exercise_called(label)
    report = grade_text(paste_back(starter(exercise, label), exercise.cut), tmp_path)
    assert report.passed and report.score == 1, [row.diagnosis() for row in report.rows]


@pytest.mark.parametrize("name", PAIRS)
def test_backward_alone_can_be_set_as_the_task(name, tmp_path):
    exercise = find_exercise(name)
    text = starter(exercise, name, keep_forward=True)
    rest = [function for function in exercise.cut if not function.__name__.endswith("_forward")]
    assert text.count(GAP) == len(rest) >= 1
    assert grade_text(paste_back(text, rest), tmp_path).passed


def test_start_writes_the_file_and_never_over_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["homework", "start", "gelu"]) == 0
    path = tmp_path / "gelu.py"
    path.write_text("mine")
    assert main(["homework", "start", "gelu"]) == 2
    assert path.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["homework", "start", "gelu", "--force"]) == 0
    assert "def gelu_backward" in path.read_text()


# ---- check


def test_check_of_a_right_file_exits_0(right_layer_norm, capsys):
    assert main(["homework", "check", str(right_layer_norm)]) == 0
    printed = capsys.readouterr().out
    assert "FAIL" not in printed and printed.count("PASS") == 5


def test_check_of_a_wrong_file_names_the_mistake_and_shows_the_example(wrong_layer_norm, capsys):
    assert main(["homework", "check", str(wrong_layer_norm)]) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "the last factor 1/sqrt(var + eps) is missing" in printed
    assert "yours" in printed and "should be" in printed


def test_example_of_ids_is_printed_without_decimals(capsys):
    assert main(["homework", "check", str(CATALOGUE / "mlm_batch" / "wrong_in_place.py")]) == 1
    assert "-100  -100     6< -100 " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Zoë [red] :cat:", os.fsdecode(b"M\xfcller")])
def test_name_of_a_file_is_printed_whatever_it_holds(name, right_layer_norm, capsys):
    try:
        path = right_layer_norm.rename(right_layer_norm.parent / f"{name}.py")
    except OSError:
        pytest.skip("this file system has no such names")
    told = name.encode("utf-8", "backslashreplace").decode()
    assert main(["homework", "check", str(path)]) == 0
    assert told in " ".join(capsys.readouterr().out.split("\n"))
    assert main(["homework", "report", str(path.parent)]) == 0
    assert told in capsys.readouterr().out


def test_another_seed_grades_with_other_numbers(wrong_layer_norm):
    one, other = (check(wrong_layer_norm, seed=seed) for seed in (0, 5))
    assert one.rows[1].error != other.rows[1].error
    assert [each.ids for each in one.rows[1].explanations] == [each.ids for each in other.rows[1].explanations]


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_files_for_teachers_hold_the_verdict(wrong_layer_norm, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("a.json", "b.xml", "c.json")]
    options = [word for pair in zip(("--json", "--junit", "--gradescope"), paths) for word in pair]
    assert main(["homework", "check", str(wrong_layer_norm), *options]) == 1
    report = strict(Path(paths[0]).read_text())
    assert report["exercise"] == "layer_norm" and report["score"] == 0.8
    assert [row["passed"] for row in report["rows"]] == [True, False, True, True, True]
    suite = ElementTree.parse(paths[1]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    assert "1/sqrt(var + eps) is missing" in suite.find("testcase/failure").get("message")
    results = strict(Path(paths[2]).read_text())
    assert results["score"] == pytest.approx(8)
    assert sum(test["max_score"] for test in results["tests"]) == pytest.approx(formats.POINTS)
    assert [test["status"] for test in results["tests"]] == ["passed", "failed", "passed", "passed", "passed"]


def test_json_goes_to_the_screen_without_a_file(wrong_layer_norm, capsys):
    assert main(["homework", "check", str(wrong_layer_norm), "--json"]) == 1
    row = strict(capsys.readouterr().out)["rows"][1]
    assert row["explanations"][0][0]["id"] == "power=0"
    assert row["example"]["inputs"]["x"] and row["relative_error"] > 0.1


@pytest.mark.parametrize("text", ["def f(:", "# scratchgpt homework: layer_norm\nx = 1\n"])
def test_autograder_gets_its_files_for_a_file_that_cannot_be_graded(text, tmp_path, capsys):
    path, results, junit = tmp_path / "answer.py", tmp_path / "results.json", tmp_path / "junit.xml"
    path.write_text(text)
    assert main(["homework", "check", str(path), "--gradescope", str(results), "--junit", str(junit)]) == 2
    assert strict(results.read_text())["score"] == 0
    assert "not graded" in strict(results.read_text())["output"]
    assert int(ElementTree.parse(junit).getroot().get("failures")) >= 1


def test_junit_is_xml_whatever_a_message_holds(wrong_layer_norm):
    text = wrong_layer_norm.read_text().replace(
        "    xhat, rstd, weight = cache", '    raise ValueError("\\x00<&>\\ud800")', 1
    )
    wrong_layer_norm.write_text(text)
    failure = ElementTree.fromstring(formats.to_junit(check(wrong_layer_norm)).partition("?>")[2]).find(
        "testcase/failure"
    )
    assert "<&>" in failure.get("message")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "none.py"], "none.py is not there"),
        (["check", "broken.py"], "line 2: does not parse"),
        (["check", "lacking.py"], "the function layer_norm_backward is not in the file"),
        (["check", "changed.py"], "another signature"),
        (["check", "plain.py"], "does not say which exercise"),
        (["check", "plain.py", "--exercise", "layer_nrom"], "did you mean layer_norm"),
        (["check", "plain.py", "--exercise", "layer_norm/none"], "no variant 'none'"),
        (["check", "lacking.py", "--seed", "-1"], "--seed is -1"),
        (["check", "lacking.py", "--json", "no/such/file"], "is not a directory"),
        (["check", "lacking.py", "--junit", "."], ". is a directory"),
        (["start", "atention"], "did you mean attention"),
        (["start", "gelu", "--out", "no/such/gelu.py"], "is not a directory"),
        (["start", "gelu", "--out", ".", "--force"], ". is a directory"),
        (["start", "bpe", "--keep-forward"], "leave out --keep-forward"),
        (["train", "none.py"], "none.py is not there"),
        (["train", "lacking.py", "--steps", "0"], "--steps is 0"),
        (["train", "cache.py"], "no op of a training step"),
        (["report", "none"], "none is not a directory"),
        (["report", "."], "holds no submission"),
        (["report", ".", "--exercise", "layer_nrom"], "did you mean layer_norm"),
        (["report", ".", "--exercise", "layer_norm/none"], "no variant 'none'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    head = "# scratchgpt homework: layer_norm\n"
    forward = head + "def layer_norm_forward(x, weight, bias, eps):\n    return x, None\n"
    files = {"plain.py": "x = 1\n", "cache.py": starter(find_exercise("kv_cache"), "kv_cache")}
    if arguments[0] != "report":
        files |= {"broken.py": head + "def f(:\n", "lacking.py": forward}
        files["changed.py"] = forward + "def layer_norm_backward(dout):\n    return dout\n"
    else:
        files.pop("cache.py")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert main(["homework", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert {path.name for path in tmp_path.iterdir()} == set(files)


# ---- report


@pytest.fixture
def submissions(tmp_path, right_layer_norm):
    """A class of five: one right, two with the same mistake, one that loops, one that does not parse."""
    folder = tmp_path / "class"
    (folder / "bob").mkdir(parents=True)
    right = right_layer_norm.read_text()
    wrong = right.replace("\n    dx *= rstd", "")
    (folder / "ann.py").write_text(right)
    (folder / "bob" / "final.py").write_text(wrong)
    (folder / "cy.py").write_text(wrong.replace("dxhat", "g"))
    (folder / "dan.py").write_text(right.replace("\n    dx *= rstd", "\n    while True:\n        pass"))
    (folder / "eve.py").write_text("# scratchgpt homework: layer_norm\ndef f(:\n")
    (folder / "notes.py").write_text("# nothing\n")
    return folder


def test_report_says_who_passed_and_which_mistakes_were_common(submissions, capsys):
    assert main(["homework", "report", str(submissions)]) == 1
    printed = capsys.readouterr().out
    rows = [line.split("│") for line in printed.splitlines() if line.startswith("│")]
    passed = {cells[1].strip(): cells[2].strip() for cells in rows if len(cells) == 4}
    assert passed == {"ann": "PASS", "bob": "80%", "cy": "80%", "dan": "25%", "eve": "-", "passed": "1 of 5"}
    common = [cells for cells in rows if len(cells) == 5]
    assert "1/sqrt(var + eps) is missing" in common[0][1] and common[0][2].strip() == "2"
    assert "an endless loop" in printed and "eve.py, line 2: does not parse" in printed
    assert "1 Python files name no exercise" in printed


def test_report_as_json_is_strict(submissions, capsys):
    assert main(["homework", "report", str(submissions), "--json"]) == 1
    found = strict(capsys.readouterr().out)
    assert [each["student"] for each in found["submissions"]] == ["ann", "bob", "cy", "dan", "eve"]
    assert found["mistakes"][0]["students"] == ["bob", "cy"]


def test_report_exits_0_when_everybody_passed(submissions):
    for path in [*submissions.glob("[c-z]*.py"), *submissions.glob("bob/*.py")]:
        path.unlink()
    assert main(["homework", "report", str(submissions)]) == 0


def test_report_has_a_column_for_a_variant_and_counts_the_best_of_several(submissions, capsys):
    variant = (CATALOGUE / "layer_norm" / "right_channels_first.py").read_text()
    (submissions / "bob" / "channels.py").write_text(variant)
    (submissions / "bob" / "again.py").write_text((submissions / "ann.py").read_text())
    assert main(["homework", "report", str(submissions)]) == 1
    lines = [line.split() for line in capsys.readouterr().out.replace("┃", "│").replace("│", "").splitlines()]
    assert ["student", "layer_norm", "layer_norm/channels_first"] in lines
    assert ["bob", "PASS", "PASS"] in lines


def test_report_tells_of_files_that_cannot_be_graded_and_goes_on(submissions, capsys, monkeypatch):
    (submissions / "fay.py").write_text("# scratchgpt homework: layer_nrom\n")
    (submissions / "gus.py").mkdir()
    (submissions / "hal.py").write_bytes(b"# scratchgpt homework: layer_norm\n\xff")

    def check_but_fail(path, *options):
        if path.name == "cy.py":
            raise RuntimeError("a fault of the grader")
        return check(path, *options)

    monkeypatch.setattr("scratchgpt.homework.classroom.check", check_but_fail)
    assert main(["homework", "report", str(submissions)]) == 1
    printed = capsys.readouterr().out
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    marks = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows if len(cells) == 3}
    assert marks["ann"] == ["PASS", ""] and marks["fay"] == ["", "-"] and marks["hal"] == ["-", ""]
    assert "did you mean layer_norm?" in printed and "cy.py: a fault of the grader" in printed and "gus" not in printed


def test_report_counts_a_student_once_for_each_mistake(wrong_layer_norm):
    report = check(wrong_layer_norm)
    ((_, who),) = mistakes(["ann", "ann"], [report, report])
    assert who == ["ann"]


# ---- train


def train(path, tmp_path, capfd, steps=3):
    code = main(["homework", "train", str(path), "--steps", str(steps), "--out", str(tmp_path / "out")])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_right_op_trains_as_the_library_does(right_layer_norm, tmp_path, capfd):
    code, out, _ = train(right_layer_norm, tmp_path, capfd)
    assert code == 0 and "the same curve" in out
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("solution", "expected"), [("right_plain", "the same curve"), ("wrong_sum", "curves differ")])
def test_rms_norm_trains_in_a_llama(solution, expected, tmp_path, capfd):
    code, out, _ = train(CATALOGUE / "rms_norm" / f"{solution}.py", tmp_path, capfd, steps=12)
    assert code == 0 and "a Llama of" in out and expected in out


def test_wrong_op_is_trained_with_and_differs(wrong_layer_norm, tmp_path, capfd):
    wrong_layer_norm.write_text(wrong_layer_norm.read_text().replace("dx = dxhat -", "dx = -dxhat -"))
    code, out, _ = train(wrong_layer_norm, tmp_path, capfd, steps=12)
    assert code == 0 and "wrong, and trained with all the same" in out
    assert "the curves differ" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raise KeyError('lost')", "KeyError at line"),
        ("dweight = dout", "do not fit into a model"),
        ("dx = dx * float('nan')", "not finite"),
    ],
)
def test_op_that_fails_in_training_ends_it_in_one_line(right_layer_norm, tmp_path, capfd, line, words):
    text = right_layer_norm.read_text()
    right_layer_norm.write_text(
        text.replace("\n    dx *= rstd", f"\n    dx *= rstd\n    if dx.dtype == 'float32':\n        {line}")
    )
    code, _, err = train(right_layer_norm, tmp_path, capfd)
    assert code == 1
    assert words in err and err.count("\n") == 1
