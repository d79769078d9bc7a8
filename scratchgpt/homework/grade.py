"""From a student's file to a report: what is right, what is wrong, why, and the smallest example of it."""

import itertools
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.homework.diagnose import Explanation, diagnose, numbers, same
from scratchgpt.homework.exercises import exercise_names, find_exercise, variant_of
from scratchgpt.homework.runner import Other, pack
from scratchgpt.homework.start import given_source
from scratchgpt.homework.student import Student, broken_rules, exercise_of, read_source

TOLERANCE = 1e-6  # relative: a right answer in float64 is within 1e-10, a wrong formula far outside on random inputs
ROUNDING = 1e-9  # a float64 answer that is further off than this was rounded to something shorter on the way
VISIBLE = 0.1  # the gap that an example should show, so that it is seen without counting digits
EXAMPLE_SEEDS = 12  # draws of each size among which an example is looked for
SHRINKS = 12  # rounds of making an example's numbers smaller


@dataclass
class Row:
    """One graded result. shape and error describe the first grading case; explanations fit equally well."""

    name: str
    expected: str = ""  # its shape, or what kind of thing it is
    given: str = ""
    error: float = np.nan  # largest over the cases, relative to the largest element; inf where shapes differ
    passed: bool = False
    explanations: list[Explanation] = field(default_factory=list)
    hint: str | None = None
    example: dict | None = None  # {"inputs", "yours", "right"}

    def diagnosis(self):
        """In words, one line."""
        if self.passed:
            return ""
        if not self.explanations:
            return "not a known mistake" + (f"; {self.hint}" if self.hint else "")
        return "; or: ".join(map(str, self.explanations))


@dataclass
class Report:
    """What `check` found. refusals: why the file was not graded (rules broken, not written, a function missing)."""

    file: str
    exercise: str
    variant: str | None = None
    rows: list[Row] = field(default_factory=list)
    refusals: list[Explanation] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self):
        return not self.refusals and all(row.passed for row in self.rows)

    @property
    def score(self):
        """The share of rows that passed, 0 to 1."""
        return sum(row.passed for row in self.rows) / len(self.rows) if self.rows and not self.refusals else 0.0


def check(path, name=None, seed=0):
    """The Report on a student's file. name: "layer_norm" or "rms_norm/gemma"; by default the file says it itself.

    InputError: the file is missing, is not text or does not parse, or the exercise does not exist.
    """
    began = time.perf_counter()
    source = read_source(path)
    exercise, variant = which(path, source, name)
    report = Report(printable(path), exercise.name, variant)
    report.refusals = [Explanation((("rules", sentence),)) for sentence in broken_rules(source)]
    if not report.refusals:
        with np.errstate(all="ignore"), Student(path, source, given_source(exercise)) as student:
            report.refusals = refusals(student, exercise)
            if not report.refusals:
                report.rows = Grader(student, exercise, source, seed).rows()
    if report.refusals:
        report.rows = [Row(output.name, explanations=report.refusals) for output in exercise.outputs]
    report.seconds = time.perf_counter() - began
    return report


def which(path, source, name):
    """(exercise, variant's name or None) for a file."""
    if name:
        name, _, variant = name.partition("/")
    else:
        said = exercise_of(source)
        if said is None:
            raise InputError(
                f"{Path(path).name} does not say which exercise it solves; its first line should be "
                f"`# scratchgpt homework: NAME`, with NAME one of {', '.join(exercise_names())}"
            )
        name, variant = said
    return variant_of(find_exercise(name), variant), variant or None


def refused(path, name, why):
    """The Report on a file that could not even be read as an answer."""
    said = [part("unreadable", printable(why))]
    return Report(printable(path), name or "unknown", refusals=said, rows=[Row("answer", explanations=said)])


def refusals(student, exercise):
    """Why the functions of a loaded file cannot be graded: failed to load, missing, or another signature."""
    if student.problem:
        return [explain_problem(student.problem, None)]
    found = []
    for function in exercise.cut:
        name = function.__name__
        wanted = list(function.__code__.co_varnames[: function.__code__.co_argcount])
        counts = {
            len(call.arguments)
            for inputs in exercise.cases()
            for call in exercise.calls(inputs)
            if call.function == name
        } or {len(wanted) - len(function.__defaults__ or ())}  # called by a given function, which knows no options
        if name not in student.signatures:
            found.append(Explanation((("missing", f"the function {name} is not in the file"),)))
            continue
        given, needed, any_number, keywords = student.signatures[name]
        fits = all(needed <= count and (any_number or count <= len(given)) for count in counts) and not keywords
        if not fits or (given != wanted and sorted(given) == sorted(wanted)):
            sentence = (
                f"{name}({', '.join(given)}) has another signature than the exercise's {name}({', '.join(wanted)})"
            )
            found.append(Explanation((("signature", sentence),)))
    return found


class Grader:
    """One student's answers on the grading cases, and what is to be said of them."""

    def __init__(self, student, exercise, source, seed):
        self.student, self.exercise, self.seed = student, exercise, seed
        self.lines = source.split("\n")
        self.cases = exercise.cases(seed)
        self.rights = [exercise.right_answer(inputs) for inputs in self.cases]
        self.answers = self.run([*self.cases, self.cases[0]])
        self.again = self.answers.pop()

    def run(self, cases, result=None, **how):
        """The answers to the cases: all results, or one with those it is made from."""
        return self.student.run([(self.calls(inputs, result), inputs) for inputs in cases], **how)

    def calls(self, inputs, result=None):
        """The calls to make, or those that the result needs."""
        calls = self.exercise.calls(inputs)
        if result is None:
            return calls
        needed, names = [], {result}
        for call in reversed(calls):
            if names & {*call.gives, *call.changes}:
                needed.insert(0, call)
                names |= {*call.arguments}
        return needed

    def rows(self):
        rows = []
        for output in self.exercise.outputs:
            rows.append(self.row(output, {row.name for row in rows if row.passed}))
        ran = not any(answer["problems"] for answer in self.answers)
        return [*rows, self.conduct()] if ran else rows

    def row(self, output, right_ones):
        name = output.name
        values = [answer["results"].get(name) for answer in self.answers]
        rights = [right[name] for right in self.rights]
        row = Row(name, kind_of(rights[0]), kind_of(values[0]) if name in self.answers[0]["results"] else "-")
        problem = self.problem(name)
        if problem:
            row.explanations = [problem]
        else:
            row.error = max(distance(value, right) for value, right in zip(values, rights))
            row.passed = all(same(value, right, TOLERANCE) for value, right in zip(values, rights))
            if not row.passed or row.error > ROUNDING:
                self.explain(row, self.possible(output, right_ones), values, rights)
                wrong_parts = [part for part in output.parts if part not in right_ones]
                if wrong_parts and not row.hint:
                    row.hint = f"mend {' and '.join(wrong_parts)} first: the same functions make this"
        return row

    def possible(self, output, right_ones):
        """The output with only those knobs that its parts, where they are right, leave possible."""
        parts = [each for each in self.exercise.outputs if each.name in output.parts and each.name in right_ones]
        knobs = {
            knob: {
                way: text for way, text in ways.items() if not any(way in part.knobs.get(knob, ()) for part in parts)
            }
            for knob, ways in output.knobs.items()
        }
        return replace(output, knobs=knobs)

    def problem(self, name):
        """Why there is no result of this name, or None."""
        for answer in self.answers:
            if name in answer["problems"]:
                return explain_problem(answer["problems"][name], self.lines)
        return None

    def explain(self, row, output, values, rights):
        """Fills in why a result is wrong: what can be said of any result first, then the exercise's own mistakes."""
        said = self.shortened(values, row.error) or (None if row.passed else self.general(output.name, values, rights))
        if said:
            row.passed = False
            row.explanations = [said]
        elif not row.passed:
            row.explanations = diagnose(self.exercise, output, self.cases, values)
            hints = [hint for holds, hint in output.invariants if not all(map(holds, values, self.cases))]
            row.hint = hints[0] if hints and not row.explanations else None
        if not row.passed and (said is None or {"shape", "zero", "order"} & said.ids):
            row.example = self.example(output.name)

    def shortened(self, values, error):
        """float32 somewhere inside, where all inputs are float64."""
        if not ROUNDING < error < 1e-2 and all(getattr(value, "dtype", None) != np.float32 for value in values):
            return None
        found = self.run(self.cases[:1], look_for="float32")[0]["found"]
        if found is None:
            return None
        return Explanation((("float32", f"float32 inside: {self.place(found)}; the inputs are float64"),))

    def general(self, name, values, rights):
        """Mistakes that any result can have, the same for every exercise."""
        for kinds, expected in ((dict, "a dict"), (list | tuple, "a list or tuple")):
            if isinstance(rights[0], kinds):
                other = [value for value in values if not isinstance(value, kinds)]
                if other:
                    return part("type", f"{name} is {a_kind_of(other[0])}, expected {expected}")
                return part("empty", f"{name} is empty") if any(rights) and not any(values) else None
        if not isinstance(rights[0], np.ndarray | np.generic | float | int):
            return None
        other = [
            value
            for value, right in zip(values, rights)
            if numbers(value) is None or (isinstance(value, tuple) and np.shape(value) != np.shape(right))
        ]
        if other:
            expected = "an array of numbers" if np.ndim(rights[0]) else "a number"
            return part("type", f"{name} is {a_kind_of(other[0])}, expected {expected}")
        if not all(np.isfinite(numbers(value)).all() for value in values):
            return self.not_finite(name, values, rights)
        together = [(*call.gives, *call.changes) for call in self.exercise.calls(self.cases[0])]
        beside = {other for names in together if name in names for other in names} - {name}
        for other in self.exercise.outputs:
            if other.name in beside and all(
                isinstance(each[other.name], np.ndarray) and same(value, each[other.name])
                for value, each in zip(values, self.rights)
            ):
                return part("order", f"this is {other.name}, in the place of {name}")
        for value, right in zip(map(numbers, values), map(np.asarray, rights)):
            if value.shape != right.shape:
                return part("shape", shape_mistake(name, value, right))
        if not any(map(np.any, values)):
            return part("zero", f"{name} is all zero, as if nothing had been written there")
        return None

    def not_finite(self, name, values, rights):
        for inputs, value, right in zip(self.cases, map(numbers, values), rights):
            if np.isnan(value).any() or not np.array_equal(np.isfinite(value), np.isfinite(right)):
                kind = "nan" if np.isnan(value).any() else "inf"
                answer = self.run([inputs], look_for=kind)[0]
                began = f"; it began at {self.place(answer['found'])}" if answer["found"] else ""
                again = numbers(answer["results"].get(name))
                if kind == "nan" and again is not None and np.isfinite(again).all():
                    began = "; an array that np.empty made is not written everywhere"
                elif kind == "inf" and not np.isposinf(value).any():
                    began = ""
                return part("nan", f"{name} holds {'NaN' if kind == 'nan' else 'infinity'}{began}")
        return None

    def conduct(self):
        """The last row: inputs left alone, nothing returned that is a view of one, the same answer every time, no more
        memory than the exercise allows."""
        row = Row("conduct", "inputs kept", passed=True)
        touched = [pair for answer in self.answers for pair in answer["overwritten"]]
        graded = {output.name for output in self.exercise.outputs}  # a cache may hold an input itself
        views = [entry for answer in self.answers for entry in answer["views"] if entry[1] in graded]
        if touched:
            function, name = touched[0]
            sentence = f"{function} overwrites its input {name}{self.line_that_writes()}; work on a copy"
            row.explanations.append(part("overwrites", sentence))
        elif views:
            function, name, source = views[0]
            sentence = f"the {name} that {function} returns shares its memory with {source}; return a copy"
            row.explanations.append(part("view", sentence))
        first, again = self.answers[0]["results"], self.again["results"]
        if any(
            output.name in first and not repeatable(first[output.name], again.get(output.name))
            for output in self.exercise.outputs
        ):
            row.explanations.append(
                part(
                    "random",
                    "the same inputs give another answer the second time: something is kept between calls, or random",
                )
            )
        row.explanations += self.too_large()
        row.passed = not row.explanations
        return row

    def too_large(self):
        """What to say of functions that hold more memory at a time than the exercise allows."""
        if not self.exercise.memory:
            return []
        sizes, most, what = self.exercise.memory
        held = self.run([self.exercise.case(sizes, self.seed)], weigh=True)[0]["held"]
        names = [function.__name__ for function in self.exercise.cut if held.get(function.__name__, 0) > most]
        return [part("held", f"{name} holds {held[name] // 1000} kB at a time: {what}") for name in names[:1]]

    def line_that_writes(self):
        problems = self.run(self.cases[:1], read_only=True)[0]["problems"].values()
        lines = [each["line"] for each in problems if each.get("type") == "ValueError" and each["line"] is not None]
        return f" in line {lines[0]}: `{self.lines[lines[0] - 1].strip()}`" if lines else ""

    def place(self, found):
        """place({"line": 12, "name": "probs"}) -> "line 12, in probs: `probs = e / e.sum()`"."""
        return f"line {found['line']}, in {found['name']}: `{self.lines[found['line'] - 1].strip()}`"

    # ---- the smallest example

    def example(self, name):
        """{"inputs", "yours", "right"} of the smallest case in small integers that is wrong, or None."""
        for visible, sizes in itertools.product((VISIBLE, TOLERANCE), self.exercise.small):
            seeds = range(self.seed, self.seed + EXAMPLE_SEEDS)
            drawn = [self.exercise.case(sizes, seed, small=True) for seed in seeds]
            wrong = self.wrong(name, [inputs for inputs in drawn if self.exercise.readable(inputs)], visible)
            if not wrong:
                continue
            example = min(wrong, key=weight)
            if gap(example["yours"], example["right"]) < np.inf or not isinstance(example["right"], np.ndarray):
                return self.used(name, self.shrink(name, example, visible))
            if sizes is not self.exercise.small[0]:  # a wrong shape shows best where an axis is longer than 1
                return self.used(name, example)
        return None

    def used(self, name, example):
        """The example with only those of the inputs that the result is made from."""
        names = {each for call in self.calls(example["inputs"], name) for each in call.arguments}
        return example | {"inputs": {each: value for each, value in example["inputs"].items() if each in names}}

    def wrong(self, name, cases, visible):
        """Those of the cases on which the result is wrong: a list of {"inputs", "yours", "right"}."""
        found = []
        for inputs, answer in zip(cases, self.run(cases, name) if cases else ()):
            right = self.exercise.right_answer(inputs)[name]
            if name in answer["results"]:
                yours = answer["results"][name]
                if not same(yours, right, TOLERANCE) and (gap(yours, right) >= visible):
                    found.append({"inputs": inputs, "yours": yours, "right": right})
        return found

    def shrink(self, name, example, visible):
        """The example with as many zeros and as short texts as it can have and still be wrong: first whole arrays and
        their slices, which leaves few elements for the second round."""
        for simplify in (simplified_at_once, simplified):
            for _ in range(SHRINKS):
                simpler = [example["inputs"] | change for change in simplify(self.used(name, example)["inputs"])]
                simpler = [inputs for inputs in simpler if self.exercise.readable(inputs)]
                wrong = self.wrong(name, simpler, visible)
                wrong = [each for each in wrong if gap(each["yours"], each["right"]) < np.inf or unlike(example)]
                if not wrong:
                    break
                example = min(wrong, key=weight)
        return example


def printable(text):
    """The text, of a file's name, as it can be printed: not every name is text."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def part(identity, sentence):
    return Explanation(((identity, sentence),))


def explain_problem(problem, lines):
    """In words: what stopped the student's code."""
    kind, function, line = problem["kind"], problem["function"], problem.get("line")
    source = f": `{lines[line - 1].strip()}`" if line and lines and line <= len(lines) else ""
    where = f"line {line}{source}" if line else function or "the file"
    expected = problem.get("expected", ())
    sentences = {
        "loop": f"it did not come to an end within its time ({where})",
        "memory": f"it asked for more memory than it may have ({where})",
        "died": f"its process ended ({problem.get('message')})",
        "unwritten": f"{function} is not written yet",
        "raises": f"{problem.get('type')} at {where}: {problem.get('message')}".removesuffix(": "),
        "count": f"{function} returns {problem.get('given')}, expected {len(expected)}: {', '.join(expected)}",
    }
    return part(kind, sentences[kind])


def shape_mistake(name, value, right):
    """What makes a result of the wrong shape right, where something does."""
    head = f"{name} has the shape {value.shape}, expected {right.shape}"
    if value.size == right.size and same(value.reshape(right.shape), right):
        return f"{head}: the numbers are right, the shape is not (keepdims, or a reshape left out)"
    extra = value.ndim - right.ndim
    if not value.size or extra > 3:
        return head
    for axes in itertools.combinations(range(value.ndim), extra) if extra > 0 else ():
        if same(value.sum(axes), right):
            return f"{head}: it is not summed over axis {' and '.join(map(str, axes))}"
        if same(value.mean(axes), right):
            return f"{head}: it was broadcast over axis {' and '.join(map(str, axes))}"
    for axes in itertools.permutations(range(value.ndim)) if value.ndim == right.ndim else ():
        if same(value.transpose(axes), right):
            return f"{head}: it is transposed"
    for axes in itertools.combinations(range(right.ndim), right.ndim - value.ndim) if extra < 0 else ():
        if same(value, right.sum(axes)):
            return f"{head}: it is summed over axis {' and '.join(map(str, axes))}, which should stay"
    return head


def kind_of(value):
    """kind_of(np.zeros((2, 3))) -> "(2, 3)"; of anything else the name of its type."""
    if isinstance(value, np.ndarray):
        return str(value.shape) if value.dtype.kind in "biuf" else f"{value.shape} {value.dtype}"
    if isinstance(value, int | float | np.number):
        return "number"
    return str(value) if isinstance(value, Other) else type(value).__name__


def a_kind_of(value):
    """a_kind_of({}) -> "a dict", in a sentence."""
    if isinstance(value, np.ndarray | np.generic):
        return f"an array of {value.dtype}" if np.ndim(value) else f"a {value.dtype}"
    kind = kind_of(value)
    return "None" if value is None else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def distance(value, right):
    """The largest difference, relative to the largest element; 0 or inf where there are no numbers to subtract."""
    a, b = numbers(value), numbers(right)
    if a is None or b is None:
        return 0.0 if same(value, right) else np.inf
    if a.shape != b.shape or not np.isfinite(a).all():
        return np.inf
    return float(np.abs(a - b).max(initial=0.0) / max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-300))


def gap(yours, right):
    """The largest difference as it is seen; infinite where shapes or kinds differ."""
    a, b = numbers(yours), numbers(right)
    if a is None or b is None or a.shape != b.shape or not np.isfinite(a).all():
        return np.inf
    return float(np.abs(a - b).max(initial=0.0))


def unlike(example):
    """Whether the two cannot be subtracted; where they can, no example with NaN is to stand for them."""
    return gap(example["yours"], example["right"]) == np.inf


def repeatable(first, again):
    return same(again, first, ROUNDING) or pack(again) == pack(first)  # pack: NaN is as good as any number there


def weight(example):
    """How much there is to read: the sum and the number of the non-zero numbers in the inputs."""
    arrays = [
        value for value in example["inputs"].values() if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    ]
    texts = sum(len(value) for value in example["inputs"].values() if isinstance(value, str | list | tuple | dict))
    return sum(float(np.abs(a).sum()) + np.count_nonzero(a) for a in arrays) + texts


def simplified_at_once(inputs):
    """What is simpler in many places, as {name: value}: an array of zeros, of 1 and -1, with a slice of zeros; half of
    a text or a collection."""
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.any():
            changed = [np.zeros_like(value), np.sign(value)]
            for axis in range(value.ndim):
                for kept in 1 - np.eye(value.shape[axis]):
                    changed.append(value * np.expand_dims(kept, tuple(range(1, value.ndim - axis))))
            yield from ({name: each} for each in changed if not np.array_equal(each, value))
        elif isinstance(value, str | list | tuple | dict) and len(value) > 1:
            parts, half = [*value.items()] if isinstance(value, dict) else value, len(value) // 2
            yield from ({name: type(value)(part)} for part in (parts[:half], parts[half:]))


def simplified(inputs):
    """What is simpler in one place, as {name: value}: an element 0 or nearer to 0, one character or one item less."""
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            for index in zip(*np.nonzero(value)):
                for smaller in {0.0, np.sign(value[index]), np.trunc(value[index] / 2)} - {value[index]}:
                    changed = value.copy()
                    changed[index] = smaller
                    yield {name: changed}
        elif isinstance(value, str | list | tuple):
            yield from ({name: value[:i] + value[i + 1 :]} for i in range(len(value)))
        elif isinstance(value, dict):
            yield from ({name: {key: value[key] for key in value if key != left_out}} for left_out in value)
