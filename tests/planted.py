"""Faults of one line, planted in the library's source, and whether a report of `compare` names the line."""

import ast
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One line of the library, changed, and where the report must say that it is."""

    owner: object  # the module or class that holds the function
    function: str
    old: str  # stands once in the function's source
    new: str
    kind: str  # Divergence.kind
    where: str
    op: str
    model: str = ""  # the name of the model it is planted in

    def __repr__(self):
        return f"{self.model} {self.function}: {self.old} -> {self.new}".strip()


def plant(monkeypatch, fault):
    """Puts the changed function in the place of the library's; returns (file, number) of the changed line."""
    original = inspect.unwrap(getattr(fault.owner, fault.function))
    lines, first = inspect.getsourcelines(original)
    source = "".join(lines)
    assert source.count(fault.old) == 1, "the fault must be one line of the function as it is now"
    file = inspect.getsourcefile(original)
    changed = textwrap.dedent(source.replace(fault.old, fault.new))
    code = compile("\n" * (first - 1) + changed, file, "exec")  # frames then name the true file and line
    namespace = {}
    exec(code, original.__globals__, namespace)
    monkeypatch.setattr(fault.owner, fault.function, namespace[fault.function])
    return file, first + source[: source.index(fault.old)].count("\n")


def is_located(found, fault, file, line):
    """Whether a Divergence is the fault's, and names its line, or the op it is in."""
    if (found.kind, found.where, found.op) != (fault.kind, fault.where, fault.op):
        return False
    if fault.kind == "asked":  # the value may have been made anywhere in the functions that led to the call
        return any(where.function.rpartition(".")[2] == fault.function or calls(where, fault.function)
                   for where in found.lines)  # fmt: skip
    if fault.kind == "op" and fault.op != fault.function:  # a part of an op
        return found.lines[0].function == fault.op
    return any(covers(where, file, line, fault.function) for where in found.lines)


def covers(where, file, line, function):
    """Whether the line is one of these, or stands in a function that they call."""
    source = [linecache.getline(where.file, number) for number in range(where.first, where.last + 1)]
    return where.file == file and (where.first <= line <= where.last or f"{function}(" in "".join(source))


def calls(where, function):
    """Whether the function that these lines stand in calls another of this name."""
    tree = ast.parse(Path(where.file).read_text(encoding="utf-8"))
    around = [
        node for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno <= where.first <= node.end_lineno
    ]  # fmt: skip
    return any(f"{function}(" in ast.unparse(node) for node in around[-1:])
