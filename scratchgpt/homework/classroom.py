"""A folder of submissions: who passed what, and which mistakes how many made."""

import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scratchgpt.backend import available_cores
from scratchgpt.errors import InputError
from scratchgpt.homework.exercises import exercise_names, find_exercise, variant_of
from scratchgpt.homework.formats import to_dict
from scratchgpt.homework.grade import check, printable, refused
from scratchgpt.homework.student import exercise_of
from scratchgpt.progress import print_table

COMMON = {  # the explanations that quote a student's own line or shapes, in general words
    "shape": "a wrong shape",
    "nan": "NaN or infinity",
    "float32": "float32 inside",
    "raises": "an exception",
    "loop": "an endless loop",
    "memory": "too much memory",
    "overwrites": "an input is overwritten",
    "count": "another number of results",
}


def report_on(directory, exercise=None, seed=0, as_json=False):
    """Grades every file under the directory and prints the tables. Returns 0 when all passed, 1 otherwise.

    A student is the first part of a file's path: DIR/ann.py and DIR/ann/anything.py are both ann's. Of several files
    of a student for an exercise the best counts. Files that name no exercise are counted and left out, unless
    `exercise` says what they all are.
    """
    if exercise:
        name, _, variant = exercise.partition("/")
        variant_of(find_exercise(name), variant)
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give the folder that holds the submissions")
    files = sorted(path for path in directory.rglob("*.py") if path.is_file() and not path.name.startswith("."))
    wanted = [path for path in files if exercise or exercise_in(path)]
    if not wanted:
        raise InputError(f"{directory} holds no submission: {len(files)} Python files, none of which says "
                         "`# scratchgpt homework: NAME`; give --exercise NAME if they are all of one")  # fmt: skip
    with ThreadPoolExecutor(available_cores()) as pool:  # each check waits for a process of its own
        reports = list(pool.map(lambda path: grade(path, exercise, seed), wanted))
    students = [printable(path.relative_to(directory).parts[0].removesuffix(".py")) for path in wanted]
    if as_json:
        graded = [{"student": student} | to_dict(report) for student, report in zip(students, reports)]
        table = [{"mistake": text, "students": who} for text, who in mistakes(students, reports)]
        json.dump({"submissions": graded, "mistakes": table}, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        show(students, reports, len(files) - len(wanted))
    return 0 if all(report.passed for report in reports) else 1


def exercise_in(path):
    """The exercise that a file names, None where it names none; "unknown" when nobody can tell."""
    try:
        said = exercise_of(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return "unknown"
    return said and (said[0] if said[0] in exercise_names() else "unknown")


def grade(path, exercise, seed):
    """A Report, whatever the file is like."""
    try:
        return check(path, exercise, seed)
    except (InputError, RuntimeError) as error:  # RuntimeError: a fault of the grader, which must not end the others'
        return refused(path, exercise or exercise_in(path), str(error))


def mistakes(students, reports):
    """[(sentence, [students])], the most frequent first; a student counts once for each mistake."""
    who = defaultdict(dict)
    for student, report in zip(students, reports):
        for row in report.rows if not report.refusals else ():
            for text in [misconception(each) for each in row.explanations] or ["not a known mistake"] * (
                not row.passed
            ):
                who[f"{report.exercise}, {row.name}: {text}"][student] = None
    return sorted(((text, list(had)) for text, had in who.items()), key=lambda pair: (-len(pair[1]), pair[0]))


def misconception(explanation):
    """What one student's explanation has in common with others': without its lines and shapes."""
    return " and ".join(COMMON.get(key, text) for key, text in explanation.parts)


def show(students, reports, left_out):
    best = {}
    for student, report in zip(students, reports):
        before = best.get((student, label(report)))
        if before is None or (report.passed, report.score) > (before.passed, before.score):
            best[student, label(report)] = report
    order = [*exercise_names(), "unknown"]
    taken = sorted({name for _, name in best}, key=lambda name: (order.index(name.partition("/")[0]), name))

    def mark(student, name):
        report = best.get((student, name))
        return "" if report is None else "PASS" if report.passed else "-" if report.refusals else f"{report.score:.0%}"

    rows = [(student, *(mark(student, name) for name in taken)) for student in dict.fromkeys(students)]
    rows.append(("passed", *(passed_of(best, name) for name in taken)))
    print_table("who passed what (- was not graded)", rows, ("student", *taken))
    found = mistakes(students, reports)
    if found:
        rows = [(text, str(len(had)), ", ".join(had[:6]) + (", ..." if len(had) > 6 else "")) for text, had in found]
        print_table("which mistakes how many had", rows, ("mistake", "students", "who"))
    for student, report in zip(students, reports):
        if report.refusals:
            print(f"not graded: {student}, {report.file}: {'; '.join(map(str, report.refusals))}")
    if left_out:
        print(f"{left_out} Python files name no exercise and were left out")


def label(report):
    return report.exercise + (f"/{report.variant}" if report.variant else "")


def passed_of(best, name):
    of_this = [report.passed for (_, exercise), report in best.items() if exercise == name]
    return f"{sum(of_this)} of {len(of_this)}"
