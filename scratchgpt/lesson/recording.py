"""A lesson, run and recorded by a process of its own (tracer.py): the same lesson gives the same recording.

A step is a statement that has just run, with the values that it changed. The recording is JSON:
    "files"    [{"name", "source", "ends": {first line of a statement: its last}}]; the lesson is the first
    "values"   the distinct values, see values.py; everywhere else a value is its number
    "runs"     one per position of the slider, the lesson's own value first:
               {"value", "same": how many steps it shares with the first run, "steps": the others, "output"}
    "answers"  the number of the right option, for each question, at the lesson's own value
    a step     [line, {name: value}, more]; more may hold "in": [file, function, line of the caller, 1 if resumed] for
               a call, "out": ["returns", "yields" or "raises", value], "gone": names that disappeared, "printed": how
               many pieces of output there are by now
    output     pieces [cell, text] or [cell, value], the latter a display object that was printed
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scratchgpt.backend import child_environment
from scratchgpt.errors import InputError

TIME_LIMIT = 600  # seconds for a lesson, with every position of its slider
SINGLE_THREADED = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "MKL", "OMP", "BLIS", "VECLIB_MAXIMUM")}


def record(lesson, short=False, value=None, html=True):
    """The recording of a Lesson at every position of its slider, or only at `value`.

    short: with the @short values, and at the slider's ends alone; html: display objects as HTML, else as text.

    Strings hash alike in every recording, and BLAS has one thread. Raises InputError when the lesson stops with an
    error, takes too long, or its answer is none of the options.
    """
    with tempfile.TemporaryDirectory(prefix="scratchgpt-") as folder:
        out = Path(folder) / "recording.json"
        options = ["--short"] * short + ["--text"] * (not html) + ([] if value is None else [f"--value={value!r}"])
        run_python(lesson, ["-m", "scratchgpt.lesson.tracer", str(lesson.path), str(out), *options], PYTHONHASHSEED="0")
        return json.loads(out.read_text(encoding="utf-8"))


def run_python(lesson, arguments, **environment):
    """Runs Python for a lesson. Raises InputError, with the last line of stderr, when it fails or takes too long."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments], env=child_environment(**SINGLE_THREADED, **environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", timeout=TIME_LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{lesson.path} ran for {TIME_LIMIT} s and was stopped") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"{lesson.path} ended with exit code {done.returncode}"]
        places = [line.strip() for line in said if line.startswith('  File "')]
        raise InputError(" at ".join([said[-1], *places[-1:]]))
