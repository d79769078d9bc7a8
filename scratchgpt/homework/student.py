"""A student's file, running in a process of its own."""

import ast
import contextlib
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
           "heapq", "bisect", "copy", "random", "re", "string", "enum", "abc", "__future__")  # fmt: skip
DENIED_NAMES = ("__import__", "__builtins__", "eval", "exec", "open", "compile", "globals", "getattr", "setattr",
                "breakpoint")  # fmt: skip
OF_CLASSES = ("__init__", "__post_init__", "__call__", "__class__", "__name__")  # the others lead out of the file
HEADER = re.compile(r"^#\s*scratchgpt homework:\s*([\w-]+)(?:/([\w-]+))?\s*$", re.MULTILINE)


def read_source(path):
    """The text of a student's file; an InputError when it is missing, not text, or does not parse."""
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} is not there; `scratchgpt homework start NAME` makes a file to fill in") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory; give a Python file, or use `scratchgpt homework report`") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if "\0" in source:
        raise InputError(f"{path} is not text: it holds a NUL")
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: does not parse: {error.msg}") from None
    except (RecursionError, MemoryError):  # what the parser says of it
        raise InputError(f"{path} does not parse: its expressions are nested too deeply") from None
    return source


def exercise_of(source):
    """(exercise, variant or None) that a file says it solves in a line `# scratchgpt homework: NAME`, or None."""
    found = HEADER.search(source)
    return (found[1], found[2]) if found else None


def broken_rules(source):
    """What the file does that an exercise may not: a list of sentences with their lines."""
    broken = []
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not is_main_guard(node)]  # it never runs here
    for node in sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "." * node.level]
        for module in modules:
            if module.partition(".")[0] not in ALLOWED:
                broken.append(f"line {node.lineno}: imports {module}; an exercise may import numpy, math and the like")
        if isinstance(node, ast.Name) and (
            node.id in DENIED_NAMES or (node.id == "__name__" and isinstance(node.ctx, ast.Store))
        ):
            broken.append(f"line {node.lineno}: {node.id} is not allowed in an exercise")
        if isinstance(node, ast.Attribute) and node.attr.endswith("__") and node.attr not in OF_CLASSES:
            broken.append(f"line {node.lineno}: .{node.attr} is not allowed in an exercise")
    return broken


def is_main_guard(node):
    """Whether this is `if __name__ == "__main__":`, with no else."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "__name__ == '__main__'"


class Student:
    """The process: `run(cases)` gives one answer (see runner.run_case) for each (calls, inputs).

    source: its text; given: that of functions that it may leave out. problem: what went wrong while the file was
    loaded, or None. signatures: {function: see runner.parameters}.
    After `stopped` (the process was killed or died) every further run gives the same problem.
    """

    def __init__(self, path, source, given=""):
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
        loaded = self._ask((source, given))
        self.problem = self.stopped or loaded["problem"]
        self.signatures = {} if self.stopped else loaded["signatures"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):  # what a process that died has not read
                stream.close()

    def run(self, cases, **how):
        """how: look_for ("nan", "inf", "float32") or read_only, see runner.run_case."""
        request = [{"calls": [call._asdict() for call in calls], "inputs": inputs, **how} for calls, inputs in cases]
        answers = None if self.stopped else self._ask(request)
        if self.stopped:
            nothing = {"results": {}, "overwritten": [], "views": [], "found": None, "held": {}}
            return [
                nothing | {"problems": dict.fromkeys([name for call in calls for name in call.gives + call.changes],
                                                     self.stopped)}
                for calls, _ in cases
            ]  # fmt: skip
        return answers

    def _ask(self, request):
        """The answer to a request; sets `stopped` when none comes."""
        watch = threading.Timer(ANSWER_SECONDS, self._too_long)
        watch.start()
        try:
            runner.send(self.process.stdin, request)
            message = runner.receive(self.process.stdout)
        except BrokenPipeError:
            message = None
        finally:
            watch.cancel()
        if message is None and not self.stopped:
            self._died()
        if message and "fault" in message:
            if not message["memory"]:  # the student's data may have left none for the grader
                raise RuntimeError(f"the process of a homework file failed; a fault of the grader:\n{message['fault']}")
            self._stop("memory")
        return None if self.stopped else message

    def _stop(self, kind, message=""):
        self.stopped = {"kind": kind, "function": None, "line": None, "type": "", "message": message}

    def _too_long(self):
        self._stop("loop")
        self.process.kill()

    def _died(self):
        """The process ended without a word about a fault: it is the student's doing. (stderr: before it began.)"""
        code = self.process.wait()
        said = self.process.stderr.read().decode("utf-8", "replace").strip()
        if said:
            raise RuntimeError(f"the process of a homework file did not start; a fault of the grader:\n{said}")
        self._stop("died", f"signal {-code}" if code < 0 else f"exit code {code}")
