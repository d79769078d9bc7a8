"""A report as a teacher's tools read it: JSON, JUnit XML, Gradescope's results.json."""

import json
import math
import re
from xml.etree import ElementTree

import numpy as np

POINTS = 10.0  # what a whole exercise is worth in Gradescope, unless the course sets its own
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_dict(report):
    """The report as JSON holds it: numbers that are not finite are null, arrays are nested lists."""
    return {
        "file": report.file,
        "exercise": report.exercise,
        "variant": report.variant,
        "passed": report.passed,
        "score": report.score,
        "seconds": round(report.seconds, 3),
        "not_graded": [str(each) for each in report.refusals],
        "rows": [
            {
                "name": row.name,
                "shape": row.given,
                "expected_shape": row.expected,
                "relative_error": plain(row.error),
                "passed": row.passed,
                "diagnosis": row.diagnosis(),
                "explanations": [[{"id": key, "text": text} for key, text in each.parts] for each in row.explanations],
                "example": plain(row.example),
            }
            for row in report.rows
        ],
    }


def plain(value):
    """value with arrays as lists and everything else as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | None) else str(value)


def to_json(report):
    return json.dumps(to_dict(report), indent=1, allow_nan=False) + "\n"


def to_gradescope(report):
    """https://gradescope-autograders.readthedocs.io/en/latest/specs/: one test for each row, together POINTS."""
    points = POINTS / max(1, len(report.rows))
    passed = [row.passed and not report.refusals for row in report.rows]
    tests = [
        {
            "name": row.name,
            "score": round(points * done, 4),
            "max_score": round(points, 4),
            "status": "passed" if done else "failed",
            "output": verdict(report, row),
            "visibility": "visible",
        }
        for row, done in zip(report.rows, passed)
    ]
    return json.dumps(
        {
            "score": round(POINTS * report.score, 4),
            "execution_time": round(report.seconds, 3),
            "output": summary(report),
            "visibility": "visible",
            "tests": tests,
        },
        indent=1,
    ) + "\n"  # fmt: skip


def to_junit(report):
    """A testsuite with a testcase for each row (the format that CI servers read)."""
    suite = ElementTree.Element("testsuite", name=f"homework {report.exercise}", tests=str(len(report.rows)),
                                failures=str(sum(not row.passed for row in report.rows)), errors="0",
                                time=f"{report.seconds:.3f}")  # fmt: skip
    for row in report.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=f"homework.{report.exercise}", name=row.name)
        if not row.passed:
            ElementTree.SubElement(case, "failure", message=NOT_IN_XML.sub("?", verdict(report, row)))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def verdict(report, row):
    """One line on one row."""
    if report.refusals:
        return summary(report)
    if row.passed:
        return "right"
    error = "" if math.isnan(row.error) else f"relative error {row.error:.1e}: "
    return error + row.diagnosis()


def summary(report):
    if report.refusals:
        return "not graded: " + "; ".join(map(str, report.refusals))
    return f"{sum(row.passed for row in report.rows)} of {len(report.rows)} right"
