"""Every exercise against its own catalogue: right solutions pass, wrong ones get exactly their diagnosis.

A solution's first lines say what it is (`# scratchgpt homework: NAME`) and what is wrong with it: one line
`# mistake OUTPUT: id + id | id` for each output that goes wrong, `|` between explanations that fit equally well,
`unknown` where no spec can know the mistake, `*` for the row about the student's conduct or a file that is not graded.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from scratchgpt.homework.diagnose import diagnose, same
from scratchgpt.homework.exercises import exercise_names, find_exercise
from scratchgpt.homework.grade import check

CATALOGUE = Path(__file__).parent / "homework"
MISTAKE = re.compile(r"^# mistake (\S+): (.+)$", re.MULTILINE)
SOLUTIONS = sorted(CATALOGUE.glob("*/*.py"))
UNKNOWN = frozenset({frozenset({"unknown"})})


def every_exercise():
    for name in exercise_names():
        exercise = find_exercise(name)
        yield pytest.param(exercise, id=name)
        yield from (pytest.param(each, id=f"{name}/{variant}") for variant, each in exercise.variants.items())


def expected_mistakes(path):
    """{row: set of explanations, each a set of ids}, as the file itself says."""
    return {
        row: frozenset(frozenset(one.split(" + ")) for one in text.split(" | "))
        for row, text in MISTAKE.findall(path.read_text(encoding="utf-8"))
    }


def found_mistakes(report):
    found = {row.name: row for row in report.rows if not row.passed}
    if report.refusals:
        return {"*": frozenset(each.ids for each in report.refusals)}
    if "conduct" in found:
        found["*"] = found.pop("conduct")
    return {name: frozenset(each.ids for each in row.explanations) or UNKNOWN for name, row in found.items()}


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_solution_gets_its_verdict(path):
    report = check(path)
    if path.name.startswith("right"):
        assert report.passed, [(row.name, row.diagnosis()) for row in report.rows] + report.refusals
        return
    assert not report.passed
    expected, found = expected_mistakes(path), found_mistakes(report)
    assert expected, "a wrong solution says what is wrong with it"
    assert {row: sorted(map(sorted, ids)) for row, ids in found.items()} == {
        row: sorted(map(sorted, ids)) for row, ids in expected.items()
    }


@pytest.mark.parametrize("path", [path for path in SOLUTIONS if path.name.startswith("wrong")],
                         ids=lambda path: f"{path.parent.name}/{path.stem}")  # fmt: skip
def test_diagnosis_is_the_same_for_other_numbers(path):
    assert found_mistakes(check(path, seed=7)) == expected_mistakes(path)


@pytest.mark.parametrize("name", exercise_names())
def test_catalogue_is_rich(name):
    wrong = [path for path in SOLUTIONS if path.parent.name == name and path.name.startswith("wrong")]
    right = [path for path in SOLUTIONS if path.parent.name == name and path.name.startswith("right")]
    unknown = [path for path in wrong if UNKNOWN in expected_mistakes(path).values()]
    assert len(wrong) >= 10
    assert len(unknown) <= len(wrong) / 10
    assert len(right) >= 2


@pytest.mark.parametrize("exercise", [*every_exercise()])
def test_model_without_a_mistake_is_right(exercise):
    for inputs in exercise.cases(3):
        right = exercise.right_answer(inputs)
        for output in exercise.outputs:
            assert same(combined(output, output.model(inputs)), right[output.name], 1e-10), (
                output.name
            )  # both float64: rounding alone


@pytest.mark.parametrize("exercise", [*every_exercise()])
def test_every_known_mistake_changes_the_numbers(exercise):
    for output in exercise.outputs:
        for knob, wrong_values in output.knobs.items():
            for wrong in wrong_values:
                models = [(output.model(inputs), output.model(inputs, **{knob: wrong})) for inputs in exercise.cases()]
                assert any(not same(b, a) for a, b in models), f"{output.name}: {knob}={wrong}"


@pytest.mark.parametrize("exercise", [*every_exercise()])
def test_every_known_mistake_is_recognised_alone(exercise):
    cases = exercise.cases()
    for output in exercise.outputs:
        for knob, wrong in ((knob, wrong) for knob, values in output.knobs.items() for wrong in values):
            values = [combined(output, output.model(inputs, **{knob: wrong})) for inputs in cases]
            if not all(same(value, combined(output, output.model(inputs))) for value, inputs in zip(values, cases)):
                found = {each.ids for each in diagnose(exercise, output, cases, values)}
                assert found == {frozenset({f"{knob}={wrong}"})}, (output.name, knob, wrong)


def combined(output, model):
    """The result that a model's terms make with their right coefficients."""
    if not output.right or not isinstance(model, dict):
        return model
    return sum(output.right[term] * np.asarray(array) for term, array in model.items())


@pytest.mark.parametrize("exercise", [*every_exercise()])
def test_grading_cases_have_different_sizes_on_every_axis(exercise):
    assert len(exercise.sizes) >= 4
    dims = [exercise.dims(inputs) for inputs in exercise.cases()]
    assert any(len(set(case.values())) == len(case) for case in dims)
