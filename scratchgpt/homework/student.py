"""A student's file, running in a process of its own."""

import ast
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import scratchgpt
from scratchgpt.errors import InputError
from scratchgpt.homework import runner

ANSWER_SECONDS = 20.0  # for a whole request, by the clock: a student's code that sleeps or catches everything
ALLOWED = ("numpy", "math", "cmath", "collections", "itertools", "functools", "operator", "typing", "dataclasses",
           "heapq", "re", "string", "enum", "__future__")  # fmt: skip
DENIED_NAMES = ("__import__", "eval", "exec", "open", "compile", "globals", "getattr", "setattr", "breakpoint", "input")
HEADER = re.compile(r"^#\s*scratchgpt homework:\s*([\w-]+)(?:/([\w-]+))?\s*$", re.MULTILINE)


def read_source(path):
    """The text of a student's file; an InputError when it is missing, not text, or does not parse."""
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is not there; `scratchgpt homework start NAME` makes a file to fill in") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory; give a Python file, or use `scratchgpt homework report`") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from None
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: does not parse: {error.msg}") from None
    except ValueError as error:  # a NUL in the text
        raise InputError(f"{path} does not parse: {error}") from None
    return source


def exercise_of(source):
    """(exercise, variant or None) that a file says it solves in a line `# scratchgpt homework: NAME`, or None."""
    found = HEADER.search(source)
    return (found[1], found[2]) if found else None


def broken_rules(source):
    """What the file does that an exercise may not: a list of sentences with their lines."""
    broken = []
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "." * node.level]
        for module in modules:
            if module.partition(".")[0] not in ALLOWED:
                broken.append(f"line {node.lineno}: imports {module}; an exercise may import numpy, math and the like")
        if isinstance(node, ast.Name) and node.id in DENIED_NAMES:
            broken.append(f"line {node.lineno}: {node.id} is not allowed in an exercise")
        if isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            broken.append(f"line {node.lineno}: .{node.attr} is not allowed in an exercise")
    return broken


class Student:
    """The process: `run(cases)` gives one answer (see runner.run_case) for each (calls, inputs).

    given: the source of functions that the file may leave out. problem: what went wrong while the file was loaded, or
    None. signatures: {function: see runner.parameters}.
    After `stopped` (the process was killed or died) every further run gives the same problem.
    """

    def __init__(self, path, given=""):
        self.path = str(Path(path).resolve())
        library = str(Path(scratchgpt.__file__).parent) + os.sep
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SCRATCHGPT"))
        }
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", runner.__file__, self.path, library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self.stopped = None
        runner.send(self.process.stdin, given)
        loaded = self._receive()
        self.problem = self.stopped or loaded["problem"]
        self.signatures = {} if self.stopped else loaded["signatures"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def run(self, cases, **how):
        """how: look_for ("nan", "inf", "float32") or read_only, see runner.run_case."""
        request = [{"calls": [call._asdict() for call in calls], "inputs": inputs, **how} for calls, inputs in cases]
        if not self.stopped:
            try:
                runner.send(self.process.stdin, request)
            except BrokenPipeError:
                self._died()
        answers = None if self.stopped else self._receive()
        if self.stopped:
            nothing = {"results": {}, "overwritten": [], "views": [], "found": None, "problem": self.stopped,
                       "held": {}}  # fmt: skip
            return [nothing] * len(cases)
        return answers

    def _receive(self):
        """The next message; sets `stopped` when none comes."""
        watch = threading.Timer(ANSWER_SECONDS, self._too_long)
        watch.start()
        try:
            message = runner.receive(self.process.stdout)
        finally:
            watch.cancel()
        if message is None and not self.stopped:
            self._died()
        return message

    def _too_long(self):
        self.stopped = {"kind": "loop", "function": None, "line": None, "type": "", "message": ""}
        self.process.kill()

    def _died(self):
        """The process ended by itself: by a signal it is the student's doing, otherwise the grader's own fault."""
        code = self.process.wait()
        said = self.process.stderr.read().decode("utf-8", "replace").strip()
        if code > 0 and "MemoryError" not in said:
            raise RuntimeError(f"the process of a homework file failed; this is a fault of the grader:\n{said}")
        self.stopped = {"kind": "died", "function": None, "line": None, "type": "", "message": f"signal {-code}"}
