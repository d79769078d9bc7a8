"""A lesson as its file says it: cells in percent format, questions, the slider, and marks on lines.

    # %% [markdown]              prose (CommonMark); the first line of the first cell is "# # Title"
    # %% [markdown] predict      a question, its options ("- ..."), <!-- answer: EXPRESSION -->, then the explanation
    # %%                         code

EXPRESSION is evaluated at the end of the next code cell; its str() must be the text of exactly one option. Comments at
the end of a line of code: `# @param {type:"slider", min:0, max:1, step:0.1}` the slider, one at most; `# @skip` the
statement runs untraced, without a step; `# @over` one step, never stepped into; `# @short VALUE` replaces an assigned
value in a quick run. A mark on the first line of a `for`, `while`, `with`, `if` or `def` covers all of it.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt

from scratchgpt.errors import InputError

CELL = re.compile(r"# %%(?: \[(\w+)\])?\s*(.*)")
ANSWER = re.compile(r"<!-- answer: (.+?) -->\s*", re.DOTALL)
OPTION = re.compile(r"- (.+(?:\n {2,}.+)*)\n?")
SLIDER = re.compile(r"@param\s*\{(.*)\}\s*$")
SHORT = re.compile(r"@short\s+(.+)$")
MARK = re.compile(r"@(skip|over)\b")
MOST_POSITIONS = 64  # of the slider; each is a run of the lesson

markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass
class Cell:
    """One cell: kind "prose", "question" or "code", its title, and lines start .. end (from 1) of the file."""

    kind: str
    title: str
    start: int
    end: int
    text: str  # prose without its comment marks, or code
    question: "Question | None" = None


@dataclass
class Question:
    """What is asked before a result is shown; answer is an expression, the rest is markdown."""

    text: str
    options: list
    answer: str
    explanation: str


@dataclass
class Slider:
    """A number that the reader moves: the variable `name`, assigned on line `line`."""

    name: str
    line: int
    value: float
    low: float
    high: float
    step: float

    @cached_property
    def values(self):
        """Every position, from low to high; an int where the lesson's own value is one."""
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        values = [round(self.low + i * self.step, 10) for i in range(count)]
        return [int(value) for value in values] if isinstance(self.value, int) else values


@dataclass
class Lesson:
    """A lesson read from its file, not yet run."""

    path: Path
    source: str
    tree: ast.Module
    cells: list
    slider: Slider | None = None
    shorts: dict = field(default_factory=dict)  # line -> the value of a quick run
    marks: dict = field(default_factory=dict)  # line -> "skip" or "over"

    @property
    def name(self):
        """The folder's name, such as 03_attention; of a lesson elsewhere, the file's."""
        return self.path.parent.name if self.path.name == "lesson.py" else self.path.stem

    @property
    def title(self):
        return self.cells[0].text.partition("\n")[0].removeprefix("# ")

    @property
    def needs(self):
        """The paragraph below the title: how long it takes and what one needs."""
        return plain(self.cells[0].text.partition("\n")[2].strip().partition("\n\n")[0])

    @property
    def code_cells(self):
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def questions(self):
        return [cell.question for cell in self.cells if cell.kind == "question"]

    @property
    def homework(self):
        """The names of the exercises that the last cell, prose, tells the reader to start."""
        last = self.cells[-1]
        return re.findall(r"scratchgpt homework start (\w+)", last.text) if last.kind == "prose" else []

    def lines(self, without=("skip", "over", "short", "param")):
        """The file's lines, without the comments that speak to the tool alone."""
        comment = re.compile(rf"\s+# @(?:{'|'.join(without)})\b.*$")
        spoken = {*self.marks, *self.shorts, self.slider and self.slider.line}
        lines = enumerate(self.source.splitlines(), 1)
        return [comment.sub("", line) if number in spoken else line for number, line in lines]


def read_lesson(path):
    """The Lesson in a file. Raises InputError, with the line, when it breaks a rule of the format."""
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path} is not Python source: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {error.msg}") from None
    lesson = Lesson(path, source, tree, split_cells(path, source))
    if not lesson.cells or lesson.cells[0].kind != "prose" or not lesson.cells[0].text.startswith("# "):
        refuse(path, 1, 'a lesson begins with "# %% [markdown]" and the line "# # Title"')
    read_comments(lesson)
    return lesson


def refuse(path, line, reason):
    raise InputError(f"{path}:{line}: {reason}")


def split_cells(path, source):
    cells, lines = [], source.splitlines()
    starts = [i for i, line in enumerate(lines) if CELL.fullmatch(line)]
    before = starts[0] if starts else len(lines)
    if any(line.strip() for line in lines[:before]):
        refuse(path, 1, 'expected "# %% [markdown]"; everything in a lesson belongs to a cell')
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        language, title = CELL.fullmatch(lines[start]).groups()
        body = lines[start + 1 : end]
        while body and not body[-1].strip():
            body.pop()
        if not body:
            refuse(path, start + 1, "the cell is empty")
        if language not in (None, "markdown"):
            refuse(path, start + 1, f"a cell is code or [markdown], not [{language}]")
        if language is None:
            cells.append(Cell("code", title, start + 2, start + 1 + len(body), "\n".join(body)))
            continue
        for number, line in enumerate(body, start + 2):
            if line.strip() and not line.startswith("#"):
                refuse(path, number, f"prose is a comment; {line!r} is not")
        text = "\n".join(re.sub(r"^# ?", "", line) for line in body).strip("\n")
        kind = "question" if title == "predict" else "prose"
        cell = Cell(kind, "" if kind == "question" else title, start + 2, start + 1 + len(body), text)
        if kind == "question":
            cell.question = read_question(path, cell)
        cells.append(cell)
    if cells and cells[-1].kind == "question":
        refuse(path, cells[-1].start, "no code follows this question; its answer comes from the next code cell")
    return cells


def read_question(path, cell):
    found = ANSWER.search(cell.text)
    if found is None:
        refuse(path, cell.start, "the question has no line <!-- answer: EXPRESSION -->")
    before, explanation = cell.text[: found.start()].rstrip("\n") + "\n", cell.text[found.end() :].strip()
    listed = re.search(r"(?:^|\n)((?:- .+\n(?: {2,}.+\n)*)+)$", before)
    options = [" ".join(option.split()) for option in OPTION.findall(listed[1])] if listed else []
    if len(options) < 2 or len({plain(option) for option in options}) < len(options):
        refuse(path, cell.start, 'expected two or more different options ("- ...") right before the answer')
    try:
        ast.parse(found[1].strip(), mode="eval")
    except SyntaxError as error:
        refuse(path, cell.start, f"the answer {found[1]!r} is not a Python expression: {error.msg}")
    if not explanation:
        refuse(path, cell.start, "no explanation follows the answer")
    return Question(before[: listed.start()].strip(), options, found[1].strip(), explanation)


def plain(text):
    """Markdown without its marks: plain("`TA` *merges*") -> "TA merges"."""
    (inline,) = markdown.parseInline(text)
    return "".join(" " if child.type == "softbreak" else child.content for child in inline.children)


def read_comments(lesson):
    """Fills in the slider, the quick values and the marks from the comments that end lines of code."""
    assigned = {
        node.lineno: node
        for node in ast.walk(lesson.tree)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    for token in tokenize.generate_tokens(io.StringIO(lesson.source).readline):
        line, column = token.start
        if token.type != tokenize.COMMENT or not token.line[:column].strip():
            continue
        if mark := MARK.search(token.string):
            lesson.marks[line] = mark[1]
        if found := SHORT.search(token.string):
            if line not in assigned:
                refuse(lesson.path, line, "@short belongs to a line NAME = VALUE")
            lesson.shorts[line] = literal(lesson.path, line, found[1])
        if "@param" in token.string:
            if lesson.slider is not None:
                refuse(lesson.path, line, "a second @param; a lesson has one slider at most")
            lesson.slider = read_slider(lesson.path, line, token.string, assigned.get(line))


def literal(path, line, text):
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        refuse(path, line, f"@short {text} is not a Python literal")


def read_slider(path, line, comment, node):
    found = SLIDER.search(comment)
    settings = dict(re.findall(r'"?(\w+)"?\s*:\s*"?([^",\s]+)"?', found[1])) if found else {}
    value = node.value.value if node is not None and isinstance(node.value, ast.Constant) else None
    try:
        low, high, step = (float(settings[key]) for key in ("min", "max", "step"))
    except (KeyError, ValueError):
        low = high = step = 0
    if settings.get("type") != "slider" or not step > 0 or not low < high or type(value) not in (int, float):
        refuse(path, line, 'expected NAME = NUMBER  # @param {type:"slider", min:NUMBER, max:NUMBER, step:NUMBER}')
    slider = Slider(node.targets[0].id, line, value, low, high, step)
    if len(slider.values) > MOST_POSITIONS:
        refuse(path, line, f"the slider has {len(slider.values)} positions; expected at most {MOST_POSITIONS}")
    if value not in slider.values:
        refuse(path, line, f"{slider.name} = {value} is not a position of its slider")
    return slider


def with_values(lesson, short=False, value=None):
    """The lesson's syntax tree with other values assigned: the slider's `value`, and if short those of a quick run."""
    new = dict(lesson.shorts) if short else {}
    if lesson.slider is not None and value is not None:
        new[lesson.slider.line] = type(lesson.slider.value)(value)
    tree = ast.parse(lesson.source, str(lesson.path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and node.lineno in new:
            node.value = ast.copy_location(ast.parse(repr(new[node.lineno]), mode="eval").body, node.value)
            for inner in ast.walk(node.value):
                inner.lineno = inner.end_lineno = node.lineno
    return tree
