"""`scratchgpt check FILE:FUNCTION`: what it prints, its exit codes, and one line for everything that goes wrong."""

import json

import pytest

from scratchgpt.cli import main

CODE = """
import numpy as np
from scratchgpt.ops.reference import attention_backward, attention_forward
from scratchgpt.ops.reference import embedding_backward, embedding_forward
from scratchgpt.ops.reference import layer_norm_backward, layer_norm_forward

print("running")

def relu(x):
    return np.maximum(x, 0), x

def relu_backward(dout, x):
    return dout * (x > 0)

def scale(x, weight, *, power=1):
    return x * weight**power

def scale_grad(dout, x, weight, power=1):
    return dout * weight**power, (dout * x * power * weight ** (power - 1)).sum((0, 1))

def scale_wrong(dout, x, weight, power=1):
    return dout, dout * x

def masked_example():
    return (2, 3), {"weights": np.array([1.5, 2, 3])}

def masked_forward(x, weights, factor=1.0):
    return x * weights * factor, weights * factor

def masked_backward(dout, scale):
    return dout * scale

def both_example():
    return (2, 3), {"w": np.array([1.5, 2, 3])}

def both(x, factor=2.0, w=None):
    return x * factor * w, (x, factor, w)

def both_backward(dout, cache):
    x, factor, w = cache
    return dout * factor * w, (dout * factor * x).sum(0)

def almost(x):
    return x * x, x

def almost_backward(dout, x):
    return 2.0002 * dout * x

def weighted_forward(x, weights, table, ids=None, factor=1.0):
    return (x * weights * factor + table[ids], (weights, table.shape, ids, factor))

def weighted_backward(dout, cache):
    weights, shape, ids, factor = cache
    dtable = np.zeros(shape)
    np.add.at(dtable, ids, dout)
    return dout * weights * factor, dtable

def embedding_example():
    return np.array([[0, 1, 1], [2, 0, 1]]), (4, 3), np.ones((5, 3)), {"start": 1}

def one_example():
    return np.array([1.0, 2.0])

def one_forward(x, power=2):
    return x**power, (x, power)

def one_backward(dout, cache):
    x, power = cache
    return dout * power * x ** (power - 1)

def rows_example():
    return (2, 3), (2, 3)

def rows(*arrays):
    return sum(arrays), None

def rows_backward(dout, cache):
    return dout, dout

def raises(x):
    return x, x

def raises_backward(dout, x):
    y = dout * 2
    return y @ x[:, :, 0]

def leaves(x):
    raise SystemExit("bye\\nbye")

def leaves_backward(dout, x):
    return dout

alone_forward = relu
"""


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """check("relu", "--shape", "x=2,3") -> (exit code, stdout, stderr), over the file above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text(CODE, encoding="utf-8")

    def run(function, *options, path="ops.py"):
        code = main(["check", f"{path}:{function}", *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.removeprefix("running\n")

    return run


def refused(answer, code=2):
    """The one line of stderr of a command that must fail."""
    assert answer[:2] == (code, "") and answer[2].startswith("scratchgpt: ") and answer[2].count("\n") == 1
    return answer[2]


SHAPES = ("--shape", "x=2,3,5", "--shape", "weight=5")


def test_a_right_pair_exits_0_with_a_row_for_each_gradient(check):
    code, out, err = check("layer_norm", *SHAPES, "--shape", "bias=5", "--arg", "eps=0.1")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows] == ["gradient", "dx", "dweight", "dbias"]
    assert all(row[-1] == "ok" for row in rows[1:])


def test_a_wrong_pair_exits_1_and_says_where(check):
    code, out, err = check("scale,scale_wrong", *SHAPES)
    assert (code, err) == (1, "")
    assert out.count("WRONG") == 2 and "worst at (" in out and "not summed over" in out


@pytest.mark.parametrize(
    "function, options",
    [
        ("relu", []),  # a forward's only argument has a default shape
        ("relu", ["--shape", "x="]),  # one number
        ("relu,relu_backward", ["--shape", "x=7"]),
        ("layer_norm_forward", [*SHAPES, "--shape", "bias=5"]),
        ("scale,scale_grad", SHAPES),  # no cache
        ("scale,scale_grad", [*SHAPES, "--arg", "power=3"]),  # goes by name
        ("weighted", ["--shape", "x=2,3", "--arg", "weights=[1.5, 2, 3]", "--shape", "table=4,3",
                      "--arg", "ids=[3, 3]"]),
        ("attention", ["--shape", "q=2,3,1,5", "--shape", "k=2,3,1,5", "--shape", "v=2,3,1,5", "--shape", "bias=3,3",
                       "--arg", "causal=False"]),
        ("embedding", []),
        ("embedding", ["--arg", "start=0"]),
        ("embedding", ["--arg", "ids=[[3]]", "--shape", "wte=5,7", "--shape", "wpe=3,7"]),
        ("one", ["--arg", "power=3"]),  # the example is one array
        ("rows", []),
        ("masked", []),
        ("masked", ["--arg", "factor=2"]),  # what the example gives by name is not differentiated
        ("both", ["--shape", "w=3"]),  # unless it is drawn; an argument between two keeps its default
    ],
)  # fmt: skip
def test_pairs_and_arguments_are_found(check, function, options):
    code, out, err = check(function, *options)
    assert (code, err) == (0, "") and " ok" in out


def test_options_reach_the_pair(check):
    gradients = {}
    for options in ([], ["--seed", "1"], ["--arg", "power=3"], ["--shape", "x=3,2,5"]):
        report = json.loads(check("scale,scale_grad", *SHAPES, *options, "--json")[1])
        gradients[tuple(options)] = [(row["given"], row["shape"]) for row in report["gradients"]]
    assert len({str(each) for each in gradients.values()}) == 4


def test_json_holds_the_report(check):
    code, out, _ = check("scale,scale_wrong", *SHAPES, "--json")
    report = json.loads(out)  # what the file prints is not in it
    assert code == 1 and report["ok"] is False
    assert (report["file"], report["forward"], report["backward"], report["seed"]) == (
        "ops.py",
        "scale",
        "scale_wrong",
        0,
    )
    assert [(row["name"], row["shape"], row["verdict"]) for row in report["gradients"]] == [
        ("dx", [2, 3, 5], "wrong"),
        ("dweight", [5], "wrong"),
    ]
    code, out, _ = check("relu", "--json")
    assert code == 0 and json.loads(out)["ok"] is True


def test_the_tolerance_and_what_may_be_zero_can_be_said(check):
    narrow = ("layer_norm", "--shape", "x=3,1", "--shape", "weight=1", "--shape", "bias=1")
    code, out, _ = check(*narrow)
    assert code == 1 and out.count("VACUOUS") == 2
    assert check(*narrow, "--may-be-zero", "x", "--may-be-zero", "weight")[0] == 0
    assert check("almost")[0] == 1 and check("almost", "--tolerance", "2e-4")[0] == 0


@pytest.mark.parametrize(
    "function, options, told",
    [
        ("relu", ["--shape", "y=2"], "relu takes (x); it has no argument y"),
        ("relu", ["--shape", "x"], "--shape x is no shape; expected NAME=N,N"),
        ("relu", ["--shape", "x=2x3"], "--shape x=2x3 is no shape"),
        ("relu", ["--shape", "x=-2"], "--shape x=-2 is no shape"),
        ("relu", ["--arg", "[1]"], "--arg [1] has no name"),
        ("relu", ["--arg", "x=[1,"], "--arg x=[1, cannot be read"),
        ("relu", ["--arg", "x=[[1], [2, 3]]"], "cannot be read"),
        ("relu", ["--arg", "x=os.remove"], "cannot be read"),
        ("relu", ["--may-be-zero", "y"], "may_be_zero names y; the arguments are x"),
        ("relu", ["--seed", "-1"], "--seed is -1; expected 0 or more"),
        ("relu", ["--tolerance", "0"], "--tolerance is 0.0; expected a number above 0"),
        ("relu", ["--tolerance", "nan"], "--tolerance is nan"),
        ("layer_norm", ["--shape", "x=2,3"], "layer_norm_forward needs weight, bias: give --shape"),
        ("layer_norm", [], "layer_norm_forward needs x, weight, bias: give --shape"),
        ("rows", ["--shape", "x=2"], "it has no argument arrays"),
        ("rellu", [], "ops.py has no function rellu; did you mean relu"),
        ("alone", [], "ops.py has no function alone_backward"),
        ("np", [], "ops.py has no function np"),
        ("relu,nothing", [], "ops.py has no function nothing"),
        ("", [], "ops.py has no function "),
        (
            "scale,relu_backward",
            SHAPES,
            "backward takes (dout, x); expected (dout, *args), because forward returned no",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exits_2(check, function, options, told):
    assert told in refused(check(function, *options))


def test_a_file_that_cannot_be_used_is_one_line_and_exits_2(check, tmp_path, capsys):
    assert "gone.py cannot be read: No such file" in refused(check("relu", path="gone.py"))
    (tmp_path / "folder").mkdir()
    assert "folder cannot be read" in refused(check("relu", path="folder"))
    (tmp_path / "bad.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    assert "bad.py line 2 does not parse: invalid syntax" in refused(check("relu", path="bad.py"))
    for data in (b"\xff\xfe", b"x = 1\0"):
        (tmp_path / "binary.py").write_bytes(data)
        assert "does not parse" in refused(check("relu", path="binary.py"))
    assert main(["check", "ops.py"]) == 2
    assert "ops.py names no function; expected FILE:FUNCTION" in capsys.readouterr().err


def test_an_exception_of_the_files_own_is_one_line_with_its_line_number_and_exits_1(check, tmp_path):
    lines = CODE.splitlines()
    at = 1 + lines.index("    return y @ x[:, :, 0]")
    assert f"ops.py line {at}: ValueError: matmul" in refused(check("raises"), 1)
    at = 1 + next(number for number, line in enumerate(lines) if "SystemExit" in line)
    assert f"ops.py line {at}: SystemExit: bye bye" in refused(check("leaves"), 1)
    (tmp_path / "broken.py").write_text("import math\n\nmath.sqrt(-1)\n", encoding="utf-8")
    assert "broken.py line 3: ValueError: " in refused(check("relu", path="broken.py"), 1)
    (tmp_path / "needs.py").write_text("import no_such_module\n", encoding="utf-8")
    assert "needs.py line 1: ModuleNotFoundError: No module named 'no_such_module'" in refused(
        check("relu", path="needs.py"), 1
    )


def test_an_exception_in_a_module_that_the_file_imports_is_told_too(check, tmp_path):
    (tmp_path / "beside_ops.py").write_text("def f_forward(x):\n    return x + y, x\n", encoding="utf-8")
    (tmp_path / "user.py").write_text(
        "from beside_ops import *\ndef f_backward(d, x):\n    return d\n", encoding="utf-8"
    )
    line = refused(check("f", path="user.py"), 1)
    assert "beside_ops.py line 2: NameError" in line


def test_an_unsound_example_exits_2(check, tmp_path):
    (tmp_path / "ex.py").write_text(
        "def f(x):\n    return x, x\ndef f_backward(d, x):\n    return d\ndef f_example():\n    return 1, 2\n",
        encoding="utf-8",
    )
    assert "forward takes (x); the arguments given do not fit" in refused(check("f", path="ex.py"))
    assert "cannot be told from the example" in refused(check("f", "--shape", "x=2", path="ex.py"))


def test_a_file_with_a_dataclass_can_be_checked(check, tmp_path):
    (tmp_path / "dc.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass C:\n    a: ClassVar[int] = 1\n"
        "def f(x):\n    return 2 * x, x\ndef f_backward(d, x):\n    return 2 * d\n", encoding="utf-8",
    )  # fmt: skip
    assert check("f", path="dc.py")[0] == 0
