"""A report as a student reads it in the terminal."""

import math

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scratchgpt.homework.diagnose import numbers, same
from scratchgpt.homework.grade import TOLERANCE


def show(report, console=None):
    """Prints the table of rows, the smallest example of each that is wrong, and the score."""
    console = console or Console(highlight=False, markup=False, emoji=False)
    name = report.exercise + (f"/{report.variant}" if report.variant else "")
    table = Table(title=f"{name}: {report.file}", title_justify="left")
    for heading in ("", "shape", "rel. error", "", "diagnosis"):
        table.add_column(heading, overflow="fold")
    for row in report.rows:
        shape = row.given if row.passed or row.given in (row.expected, "") else f"{row.given}, not {row.expected}"
        error = "" if math.isnan(row.error) else f"{row.error:.1e}"
        mark = Text("PASS", "green") if row.passed else Text("FAIL", "bold red")
        table.add_row(row.name, shape, error, mark, Text(row.diagnosis()))
    console.print(table)
    for row in report.rows:
        if row.example:
            show_example(console, row)
    right = sum(row.passed for row in report.rows)
    console.print(f"{right} of {len(report.rows)} right, in {report.seconds:.1f} s")


def show_example(console, row):
    """The inputs in small integers, then yours and the right one, line by line, differences marked."""
    console.print(f"\nThe smallest example for {row.name}:", style="bold")
    for name, value in row.example["inputs"].items():
        if value is not None:
            console.print(Text(f"  {name} = {in_one_line(value)}"))
    console.print(side_by_side(row.example["yours"], row.example["right"]))


def in_one_line(value):
    """in_one_line(np.array([[1., 0.]])) -> "[[1, 0]]": whole numbers without a point."""
    if isinstance(value, np.ndarray):
        if value.size and value.dtype.kind == "f" and np.array_equal(value, np.round(value)):
            value = value.astype(int)
        return str(value.tolist()) + ("" if value.size else f" of shape {value.shape}")
    return repr(value)


def side_by_side(yours, right):
    """A table of the two; where they differ the right one is marked with <."""
    table = Table()
    for heading in ("", "yours", "should be"):
        table.add_column(heading, no_wrap=False)
    a, b = numbers(yours), numbers(right)
    if a is None or b is None:
        for label, one, other in items(yours, right):
            table.add_row(label, Text(one), Text(other + ("" if one == other else "  <")))
        return table
    rows, others = (each.reshape(-1, each.shape[-1]) if each.ndim > 1 else np.atleast_2d(each) for each in (a, b))
    labels = list(np.ndindex(b.shape[:-1])) if b.ndim > 1 else [()]
    whole = np.asarray(right).dtype.kind in "biu" and np.array_equal(a, np.round(a))
    for number in range(max(len(rows), len(others))):
        label = ", ".join(map(str, labels[number])) if number < len(labels) else ""
        mine = rows[number] if number < len(rows) else None
        theirs = others[number] if number < len(others) else None
        table.add_row(label, Text(line(mine, theirs, whole)), Text(line(theirs, mine, whole, mark=True)))
    return table


def items(yours, right):
    """(label, yours, right) of each item of two results that are not numbers, as text; "-" where one has none."""
    both = [yours, right]
    if not all(isinstance(each, dict) for each in both):
        both = [dict(enumerate(each if isinstance(each, list | tuple) else [each])) for each in both]
    keys = dict.fromkeys([*both[1], *both[0]])
    return [(str(key), *(repr(each[key]) if key in each else "-" for each in both)) for key in keys]


def line(values, against, whole, mark=False):
    """Numbers in columns, whole ones without a point; mark: those that differ are followed by <."""
    if values is None:
        return "-"
    comparable = against is not None and against.shape == values.shape
    differ = (
        [comparable and not same(x, y, TOLERANCE) for x, y in zip(values, against)]
        if comparable
        else [True] * len(values)
    )
    width = "4.0f" if whole else "9.4f"
    return " ".join(f"{x:{width}}{'<' if mark and different else ' '}" for x, different in zip(values, differ)).rstrip()
