"""The grader on files that misbehave: what it says, and that nothing gets out of the student's process."""

from pathlib import Path

import numpy as np
import pytest

from scratchgpt.errors import InputError
from scratchgpt.homework import grade, runner
from scratchgpt.homework.exercises import find_exercise
from scratchgpt.homework.grade import check
from scratchgpt.homework.start import source_of, starter
from scratchgpt.homework.student import Student

CATALOGUE = Path(__file__).parent / "homework"
RIGHT = """# scratchgpt homework: layer_norm
import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    xhat = centred * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx = dx * rstd
    dweight = (dout * xhat).sum((0, 1))
    dbias = dout.sum((0, 1))
    return dx, dweight, dbias
"""


@pytest.fixture
def submit(tmp_path):
    """submit(old, new, ...): the report on the right solution with these replacements."""

    def report(*edits, **options):
        source = RIGHT
        for old, new in zip(edits[::2], edits[1::2]):
            assert old in source
            source = source.replace(old, new)
        path = tmp_path / "answer.py"
        path.write_text(source, encoding="utf-8")
        return check(path, **options)

    return report


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def ids(report, name):
    return [each.ids for each in row(report, name).explanations]


def test_right_solution_passes(submit):
    report = submit()
    assert report.passed and report.score == 1
    assert [row.name for row in report.rows] == ["out", "dx", "dweight", "dbias", "conduct"]


def test_unknown_mistake_is_called_unknown_with_a_hint(submit):
    report = submit("dx = dx * rstd", "dx = dx * rstd + 0.3 * np.sin(dout)")
    assert row(report, "dx").explanations == []
    assert "not a known mistake; every row of dx sums to 0" in row(report, "dx").diagnosis()
    assert row(report, "dx").example is not None


def test_example_is_small_and_wrong(submit):
    example = row(submit("dx = dxhat - dxhat.mean(-1, keepdims=True) -", "dx = dxhat -"), "dx").example
    assert example["inputs"]["x"].shape == (1, 1, 3)
    assert set(example["inputs"]["x"].ravel()) <= {-3, -2, -1, 0, 1, 2, 3}
    assert abs(example["yours"] - example["right"]).max() >= grade.VISIBLE


def test_example_of_wrong_numbers_is_not_made_one_of_nan(submit):
    nan_where_all_is_0 = "dweight = (dout * xhat).sum((0, 1)) * (2 if dout.any() else np.nan)"
    example = row(submit("dweight = (dout * xhat).sum((0, 1))", nan_where_all_is_0), "dweight").example
    assert example["inputs"]["dout"].any() and not np.isnan(example["yours"]).any()


def test_example_of_a_large_case_has_few_numbers_that_are_not_0(tmp_path):
    first_only = ("store[:, :, length : length + T] = new", "store[:, :, length : length + T] = new[:1]")
    report = answer_from(tmp_path, "kv_cache/wrong_first_rows.py", *first_only)
    inputs = row(report, "store").example["inputs"]
    assert inputs["store"].shape == (2, 2, 5, 2) and np.count_nonzero(inputs["new"]) == 1
    assert row(report, "out").diagnosis().endswith("mend held and store first: the same functions make this")


@pytest.mark.parametrize(
    ("old", "new", "output", "identity", "words"),
    [
        ("(dout * xhat).sum((0, 1))", "dout * xhat", "dweight", "shape", "not summed over axis 0 and 1"),
        ("dbias = dout.sum((0, 1))", "dbias = dout.sum((0, 1), keepdims=True)", "dbias", "shape", "keepdims"),
        ("dx = dx * rstd", "dx = (dx * rstd).T", "dx", "shape", "transposed"),
        ("dbias = dout.sum((0, 1))", "dbias = dout.sum()", "dbias", "shape", "summed over axis 0, which should stay"),
        ("dbias = dout.sum((0, 1))", "dbias = np.zeros_like(weight)", "dbias", "zero", "dbias is all zero"),
        ("dbias = dout.sum((0, 1))", "dbias = None", "dbias", "type", "dbias is None, expected an array"),
        ("dx = dx * rstd", "dx = dx * np.sqrt(0 * rstd - 1)", "dx", "nan", "line 16, in dx: `dx = dx * np.sqrt"),
        ("dx = dx * rstd", "dx = dx / (0 * rstd)", "dx", "nan", "infinity; it began at line 16"),
        (
            "dx = dx * rstd",
            "kept = np.empty_like(dx); dx = dx * np.log(-rstd); kept[:] = dx",
            "dx",
            "nan",
            "it began at line 16, in dx",
        ),
        (
            "dx = dx * rstd",
            "new = np.empty(dx.shape); new[1:] = dx[1:] * rstd[1:]; dx = new",
            "dx",
            "nan",
            "dx holds NaN; an array that np.empty made is not written everywhere",
        ),
        ("dxhat = dout * weight", "dxhat = (dout * weight).astype('float32')", "dx", "float32", "line 14, in dxhat"),
        ("return dx, dweight, dbias", "return dx, dbias, dweight", "dweight", "order", "this is dbias"),
        ("return dx, dweight, dbias", "return dbias, dweight, dx", "dx", "order", "this is dbias"),
    ],
)
def test_general_mistake_is_said_plainly(submit, old, new, output, identity, words):
    report = submit(old, new)
    assert ids(report, output) == [{identity}]
    assert words in row(report, output).diagnosis()
    assert not report.passed


def test_float32_that_passes_the_tolerance_is_still_found(submit):
    report = submit(
        "dbias = dout.sum((0, 1))", "short = dout.astype(np.float32); dbias = short.sum((0, 1)).astype(float)"
    )
    assert row(report, "dbias").error < grade.TOLERANCE
    assert ids(report, "dbias") == [{"float32"}]


@pytest.mark.parametrize(
    ("edits", "identity", "words"),
    [
        (("dxhat = dout * weight", "dout *= weight; dxhat = dout"), "overwrites", "line 14: `dout *= weight"),
        (("return dx, dweight", "dout[:] = 0; return dx, dweight"), "overwrites", "overwrites its input dout"),
        (("xhat * weight + bias, (", "x.T.T, ("), "view", "shares its memory with x"),
        (("import numpy as np\n", "import numpy as np\nseen = []\n", "dbias = dout.sum((0, 1))",
          "seen.append(1); dbias = dout.sum((0, 1)) * len(seen)"), "random", "another answer the second time"),
    ],
)  # fmt: skip
def test_conduct_is_graded(submit, edits, identity, words):
    report = submit(*edits)
    assert ids(report, "conduct") == [{identity}]
    assert words in row(report, "conduct").diagnosis()


def answer_from(tmp_path, solution, *edits):
    """The report on a solution of the catalogue with these replacements."""
    source = (CATALOGUE / solution).read_text(encoding="utf-8")
    for old, new in zip(edits[::2], edits[1::2]):
        assert old in source
        source = source.replace(old, new)
    path = tmp_path / "answer.py"
    path.write_text(source, encoding="utf-8")
    return check(path)


def test_hint_tells_where_a_mask_is_drawn(tmp_path):
    report = answer_from(tmp_path, "dropout/right_plain.py", "key, start, x.size", "key, start + 5, x.size")
    hint = "it is 0 exactly where draw start + i, with i in C order, is below p * 2^32"
    assert row(report, "dropped").diagnosis() == f"not a known mistake; {hint}"


def test_hint_tells_what_a_query_that_sees_nothing_gets(tmp_path):
    added = "scores = scores + np.where(mask[:, None, None, :], 0, -1e4)"
    plain = "scores = np.where(mask[:, None, None, :], scores, -1e9)"
    report = answer_from(tmp_path, "attention/wrong_large_negative_number.py", plain, added)
    assert row(report, "out").diagnosis() == "not a known mistake; of a query that may see nothing all is 0"


@pytest.mark.parametrize(
    ("old", "new", "output", "words"),
    [
        ("while len(vocab) < vocab_size:", "while False:", "steps", "steps is empty"),
        ("return tuple(symbol for symbol, _ in merged)", "return ()", "merged", "merged is empty"),
        ("return counts", "return [*counts.items()]", "counts", "counts is a list, expected a dict"),
        ("    return tuple(symbol", "    return ''.join(symbol", "merged", "merged is a str, expected a list or tuple"),
    ],
)
def test_collection_that_cannot_be_right_is_told_before_any_guess(old, new, output, words, tmp_path):
    assert row(answer_from(tmp_path, "bpe/right_plain_loops.py", old, new), output).diagnosis() == words


@pytest.mark.parametrize("body", ["raise NotImplementedError", "return texts[0][99]", "return None"])
def test_function_that_fails_leaves_those_that_do_not_need_it(body, tmp_path):
    source = (CATALOGUE / "bpe" / "right_plain_loops.py").read_text(encoding="utf-8")
    path = tmp_path / "answer.py"
    path.write_text(f"{source}\n\ndef count_pairs(texts, weights):\n    {body}\n", encoding="utf-8")
    passed = [row.name for row in check(path).rows if row.passed and row.name != "conduct"]
    assert passed == ["best", "merged"]


def test_input_that_is_no_array_is_to_be_left_alone_too(tmp_path):
    source = (CATALOGUE / "bpe" / "right_plain_loops.py").read_text(encoding="utf-8")
    path = tmp_path / "answer.py"
    adds = (
        "\n\nright = most_frequent\n\n\ndef most_frequent(counts):\n    counts['', ''] = 0\n    return right(counts)\n"
    )
    path.write_text(source + adds, encoding="utf-8")
    assert "most_frequent overwrites its input ranking" in row(check(path), "conduct").diagnosis()


@pytest.mark.parametrize(
    ("old", "new", "identity", "words"),
    [
        ("dbias = dout.sum((0, 1))", "while True: pass", "loop", "line 18: `while True: pass`"),
        (
            "dbias = dout.sum((0, 1))",
            "dbias = dout.total(0)",
            "raises",
            "AttributeError at line 18: `dbias = dout.total(0)`",
        ),
        ("dbias = dout.sum((0, 1))", "raise SystemExit", "raises", "SystemExit at line 18"),
        ("dbias = dout.sum((0, 1))", "dbias = np.ones(10**11)", "memory", "more memory"),
        ("return dx, dweight, dbias", "return dx, dweight", "count", "2 values, expected 3: dx, dweight, dbias"),
        ("return dx, dweight, dbias", "return {'dx': dx}", "count", "returns one value, of type dict, expected 3"),
        ("return dx, dweight, dbias", "yield dx", "count", "returns one value, of type generator"),
        ("return dx, dweight, dbias", "raise NotImplementedError", "unwritten", "not written yet"),
        ("dbias = dout.sum((0, 1))", "import os", "rules", "imports os"),
    ],
)
def test_code_that_stops_says_where(submit, old, new, identity, words):
    report = submit(old, new)
    said = report.refusals or row(report, "dbias").explanations
    assert [each.ids for each in said] == [{identity}]
    assert words in str(said[0])
    assert report.rows[0].passed == (identity != "rules")  # what ran before it is graded


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("dx.astype(object)", "an array of object in the shape (2, 3, 5)"),
        ("dx + 0j", "an array of complex128"),
        ("np.broadcast_to(1.0, (10**6, 10**6))", "an array of float64 in the shape (1000000, 1000000)"),
        ("'dx'", "a str"),
        ("(each for each in dx)", "a generator"),
        ("[[1.0], [2.0, 3.0]]", "a list"),
        ("endless([])", "a list"),
        ("{(1, None): dx}", "a dict"),
        ("10**5000", "an int"),
        ("Stubborn([1.0])", "a Stubborn"),
    ],
)
def test_result_that_is_no_array_of_numbers_is_named(submit, value, words):
    defined = """import numpy as np


def endless(items):
    items.append(items)
    return items


class Stubborn(list):
    def __iter__(self):
        raise ValueError("no")

"""
    report = submit("import numpy as np\n", defined, "return dx,", f"return {value},")
    assert row(report, "dx").diagnosis() == f"dx is {words}, expected an array of numbers"
    assert [row.passed for row in report.rows] == [True, False, True, True, True]


def test_number_is_expected_where_one_is_given_back(tmp_path):
    source = (CATALOGUE / "accumulation" / "right_two_sums.py").read_text(encoding="utf-8")
    path = tmp_path / "answer.py"
    for value, passed, words in (
        ("np.array(right(labels))", True, ""),
        ("[right(labels)] * 2", False, "it was broadcast over axis 0"),
        ("None", False, "targets is None, expected a number"),
    ):
        path.write_text(f"{source}\n\nright = count_targets\n\n\ndef count_targets(labels):\n    return {value}\n")
        targets = check(path).rows[0]
        assert targets.passed == passed and words in targets.diagnosis()


def test_infinity_that_hides_scores_is_not_where_it_began(tmp_path):
    source = (CATALOGUE / "attention" / "right_heads_first_loops.py").read_text(encoding="utf-8")
    path = tmp_path / "answer.py"
    old = "    return dq, dk, dv\n"
    assert old in source
    path.write_text(source.replace(old, "    hidden = np.full(3, -np.inf)\n    return dq / 0, dk - hidden.sum(), dv\n"))
    said = row(check(path), "dk").diagnosis()
    assert "infinity; it began" in said and "return dq / 0" in said


def test_loop_that_catches_everything_is_killed(submit, monkeypatch):
    monkeypatch.setattr("scratchgpt.homework.student.ANSWER_SECONDS", 3.0)
    stubborn = "\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass\n"
    report = submit("dbias = dout.sum((0, 1))", stubborn)
    assert ids(report, "dbias") == [{"loop"}]


@pytest.mark.parametrize(
    "line",
    [
        "import scratchgpt",
        "from scratchgpt.ops import reference",
        "import torch",
        "__import__('os')",
        "eval('1')",
        "np.__loader__",
        "open('x')",
        "from . import reference",
        "__name__ = '__main__'",
        "__builtins__['open']",
    ],
)
def test_rules_are_told_with_their_line(submit, line):
    report = submit("import numpy as np\n", f"import numpy as np\n{line}\n")
    assert not report.passed
    assert str(report.refusals[0]).startswith("line 3: ")


@pytest.mark.parametrize(
    "attempt",
    [
        "np.lib._utils_impl.sys.modules['importlib'].import_module('scratchgpt.ops.reference')",
        "np.lib._utils_impl.os.system('true')",
        "np.save('written.npy', x)",
        "np.load(LIBRARY)",
        "np.lib._utils_impl.sys.modules['subprocess'].run(['true'])",
    ],
)
def test_fence_stops_what_the_rules_do_not_see(submit, attempt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempt = attempt.replace("LIBRARY", repr(grade.__file__))
    report = submit("    centred =", f"    {attempt}\n    centred =")
    assert ids(report, "out") == [{"raises"}]
    said = row(report, "out").diagnosis()
    assert "may not" in said or "KeyError" in said or "No module named 'scratchgpt'" in said
    assert not (tmp_path / "written.npy").exists()


@pytest.mark.parametrize(
    "line",
    [
        "print('here', dout)",
        "np.lib._utils_impl.sys.stderr.write('here' * 10**6)",  # more than a pipe holds
        "np.asarray = np.may_share_memory = np.ndarray = None",  # names the grader uses itself
    ],
)
def test_what_a_student_does_around_the_answer_does_not_disturb(submit, line):
    assert submit("return dx, dweight", f"{line}; return dx, dweight").passed


def test_changed_numpy_hides_no_misconduct(submit):
    changed = "import numpy as np\nnp.array_equal = np.asarray = lambda *args, **options: True\n"
    assert ids(submit("import numpy as np\n", changed, "return dx,", "dout *= 2; return dx,"), "conduct") == [
        {"overwrites"}
    ]


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (0, "exit code 0")])
def test_process_that_ends_itself_is_no_fault_of_the_grader(submit, code, words):
    report = submit("dbias = dout.sum((0, 1))", f"np.lib._utils_impl.os._exit({code})")
    assert ids(report, "dbias") == [{"died"}] and words in row(report, "dbias").diagnosis()


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (("import numpy as np\n", "import numpy as np\nclass E(Exception):\n    def __str__(self):\n        return 1\n",
          "dbias = dout.sum((0, 1))", "raise E"), "E at line 21: `raise E`"),
        (("dbias = dout.sum((0, 1))", "raise ValueError('\\ud800\\x1b' + 'x' * 10**6)"), ": ??xxx"),
        (("import numpy as np\n", "import numpy as np\n# \x0c \u2028 \x85\n",
          "dbias = dout.sum((0, 1))", "dbias = nothing"), "line 19: `dbias = nothing`"),
        (("import numpy as np\n", "import numpy as np\nreturn 1\n"), "SyntaxError at line 3: 'return' outside"),
        (("    return dx, dweight, dbias", "\nlayer_norm_backward = max"), "ValueError at layer_norm_backward"),
    ],
)  # fmt: skip
def test_any_error_is_told_in_one_short_line_that_can_be_printed(submit, edits, words):
    report = submit(*edits)
    said = (report.refusals or row(report, "dbias").explanations)[0]
    assert words in str(said) and str(said).isprintable() and len(str(said)) < 500


@pytest.mark.parametrize(
    "edits",
    [
        ("(x, weight, bias, eps", "(input, weight, bias, eps", "    centred =", "    x = input\n    centred ="),
        ("return dx, dweight, dbias", "return [dx.tolist(), np.asmatrix(dweight).A1, np.ma.array(dbias)]"),
        ("import numpy as np", "from numpy import *\nimport numpy as np"),
        ("    return dx, dweight, dbias\n",
         "    return dx, dweight, dbias\n\n\nif __name__ == '__main__':\n    import matplotlib\n    open('x')\n"),
        ("def layer_norm_backward(",
         "def same(f):\n    return lambda *args: f(*args)\n\n\n@same\ndef layer_norm_backward("),
        ("def layer_norm_backward(dout, cache):\n",
         "class Back:\n    def __init__(self):\n        self.__xhat = None\n        super().__init__()\n\n"
         "    def __call__(self, dout, cache):\n        return back(dout, cache)\n\n\n"
         "layer_norm_backward = Back()\n\n\ndef back(dout, cache):\n"),
        ("(xhat, rstd, weight)\n", "keep(xhat, rstd, weight)\n", "    xhat, rstd, weight = cache\n",
         "    xhat, rstd, weight = cache[:3]\n", "import numpy as np\n", "import numpy as np\n\n\n"
         "def keep(*values):\n    cache = [*values]\n    cache.append(cache)\n    return cache\n"),
        ("import numpy as np\n", "import numpy as np\n\nstore = np.zeros(99)\n", "dbias = dout.sum((0, 1))",
         "dbias = store[: len(weight)]; dbias[:] = dout.sum((0, 1))"),
        ("# scratchgpt", "\ufeff# -*- coding: klingon -*-\n# scratchgpt"),
    ],
)  # fmt: skip
def test_right_solution_in_an_unusual_form_passes(submit, edits):
    report = submit(*edits)
    assert report.passed, [row.diagnosis() for row in report.rows]


@pytest.mark.parametrize(
    ("name", "given", "graded"), [("bpe", "learn", "merge_steps"), ("accumulation", "step", "accumulate")]
)
def test_given_function_cannot_be_replaced(name, given, graded, tmp_path):
    exercise = find_exercise(name)
    (function,) = (each for each in exercise.given if each.__name__ == given)
    around = starter(exercise, name).split(f"def {exercise.cut[0].__name__}(")[0]
    right = "\n\n".join(map(source_of, exercise.cut))
    moved = right.replace(f"def {graded}(", "def moved(")
    unwritten = f"def {graded}(*args):\n    raise NotImplementedError\n"
    own = source_of(function).replace(f"{graded}(", "moved(")
    path = tmp_path / "answer.py"
    path.write_text(f"{around}\n{moved}\n\n{unwritten}\n\n{own}\n", encoding="utf-8")
    said = check(path).rows[-1].diagnosis()
    assert said == f"{graded} is not written yet"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def layer_norm_backward", "def backward", "the function layer_norm_backward is not in the file"),
        ("(dout, cache)", "(dout, cache, x)", "another signature"),
        ("(x, weight, bias, eps=1e-5)", "(x, bias, weight, eps=1e-5)", "another signature"),
    ],
)
def test_missing_function_and_changed_signature_are_refused(submit, old, new, words):
    report = submit(old, new)
    assert not report.passed and report.score == 0
    assert words in str(report.refusals[0])


def test_other_names_for_parameters_are_fine(submit):
    assert submit("(dout, cache)", "(dy, cache)", "dout", "dy").passed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"def f(:\n", "line 1: does not parse"),
        (b"\xff\xfe", "not UTF-8"),
        (b"import numpy\n", "does not say which exercise"),
        (b"# scratchgpt homework: layer_nrom\n", "did you mean layer_norm?"),
        (b"# scratchgpt homework: layer_norm/nothing\n", "has no variant 'nothing'"),
        (b"x = 1\0", "it holds a NUL"),
        (b"x = " + b"-" * 50_000 + b"1", "nested too deeply"),
    ],
)
def test_bad_file_is_one_clear_error(tmp_path, text, words):
    path = tmp_path / "answer.py"
    path.write_bytes(text)
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        check(path)


def test_missing_file_and_directory_are_clear_errors(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        check(tmp_path / "none.py")
    with pytest.raises(InputError, match="is a directory"):
        check(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        check(tmp_path / "file" / "answer.py")


def test_fault_of_the_grader_is_not_blamed_on_the_student(tmp_path, monkeypatch):
    path = tmp_path / "answer.py"
    path.write_text(RIGHT, encoding="utf-8")
    with Student(path, RIGHT) as student, pytest.raises(RuntimeError, match="a fault of the grader"):
        student.run([((), {"x": 1})], no_such_option=True)


@pytest.mark.parametrize(
    ("file", "output", "inputs"),
    [
        ("wrong_overlapping_pairs.py", "counts", {"corpus": "aaa"}),
        ("wrong_two_mistakes.py", "merged", {"text": ("a", "a", "a"), "pair": ("a", "a")}),
    ],
)
def test_example_of_a_text_is_the_shortest_and_shows_only_what_matters(file, output, inputs):
    assert row(check(CATALOGUE / "bpe" / file), output).example["inputs"] == inputs


def test_example_of_several_long_texts_is_one_short_one():
    inputs = row(check(CATALOGUE / "wordpiece" / "wrong_goes_back.py"), "matches").example["inputs"]
    assert inputs["words"] == "aaé" and {*inputs["vocab"]} == {"aa", "a", "##aé"}


def test_example_of_a_run_is_as_long_as_it_must_be(tmp_path):
    edits = ("weight * (length // 2)", "weight")
    report = answer_from(tmp_path, "bpe/right_sorted_and_recursive.py", *edits)
    assert row(report, "counts").example["inputs"] == {"corpus": "aaaa"}


def test_example_of_a_table_is_shortened():
    ranking = row(check(CATALOGUE / "bpe" / "wrong_first_seen_wins.py"), "best").example["inputs"]["ranking"]
    assert len(ranking) == 2 and len({*ranking.values()}) == 1  # two pairs, equally frequent


def test_error_in_a_given_function_is_told_with_its_name(tmp_path):
    source = (CATALOGUE / "bpe" / "right_plain_loops.py").read_text(encoding="utf-8")
    path = tmp_path / "answer.py"
    path.write_text(source.replace("    return steps\n", ""), encoding="utf-8")
    assert row(check(path), "steps").diagnosis() == "TypeError at learn: 'NoneType' object is not iterable"


def test_after_an_endless_case_the_others_get_little_time(monkeypatch):
    given = []

    def endless(functions, path, seconds):
        given.append(seconds)
        return {"problems": {"dx": {"kind": "loop"}}}

    monkeypatch.setattr(runner, "run_case", endless)
    assert len([*runner.run_cases({}, "", [{}, {}, {}])]) == 3
    assert given[0] == runner.CASE_SECONDS and given[1] == given[2] < runner.CASE_SECONDS


def test_values_survive_the_way_between_processes():
    values = {
        "a": [1, 2.5, None, True, "é", b"\x00\xff", (1, "b"), {("t", "a"): 3}],
        "s": {1, 2},
        "e": np.zeros((0, 3)),
    }
    back = runner.unpack(runner.pack(values | {"x": np.arange(6.0).reshape(2, 3), "n": np.float32(2)}))
    assert {name: back[name] for name in ("a", "s")} == {name: values[name] for name in ("a", "s")}
    assert back["e"].shape == (0, 3) and back["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert back["n"].dtype == np.float32
