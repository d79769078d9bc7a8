"""Which lines of a file belong to one statement: the unit of a step."""

import ast
from dataclasses import dataclass

QUIET = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Global, ast.Nonlocal, ast.Pass)


@dataclass
class Statement:
    """A simple statement or the head of a compound one; of a marked one, all of it. mark: "skip", "over" or None;
    quiet: it changes no value (an import, a definition)."""

    start: int
    end: int
    mark: str | None = None
    quiet: bool = False


class Source:
    """A file that is stepped through. number: its place in the recording, once a step lies in it."""

    def __init__(self, name, text, marks):
        self.name, self.text, self.number = name, text, None
        self.statements = statements_of(ast.parse(text), marks)

    def at(self, line):
        return self.statements.get(line) or Statement(line, line)

    def described(self):
        spans = {each.start: each.end for each in self.statements.values() if each.end > each.start}
        return {"name": self.name, "source": self.text, "ends": spans}


def statements_of(tree, marks):
    """{line: Statement} of a parsed file. marks: {line: "skip" or "over"}."""
    table = {}

    def visit(node):
        start = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        blocks = [*blocks_of(node)]
        end = max(start, blocks[0][0].lineno - 1) if blocks else node.end_lineno
        mark = next((marks[line] for line in range(start, end + 1) if line in marks), None)
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        one = Statement(start, end, mark, isinstance(node, QUIET) or docstring)
        for line in range(start, (node.end_lineno if mark else end) + 1):
            table[line] = one
        if mark is None:
            for block in blocks:
                for each in block:
                    visit(each)

    for node in tree.body:
        visit(node)
    return table


def blocks_of(node):
    """The lists of statements inside a compound statement, in order."""
    for name in ("body", "handlers", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and block:
            yield block
    for case in getattr(node, "cases", []):
        yield case.body
