"""What every lesson keeps to, so that a reader can rely on it: `broken_rules` names what a lesson breaks."""

import ast
import re
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.homework.exercises import exercise_names
from scratchgpt.lesson.cells import plain, with_values
from scratchgpt.lesson.page import LARGEST, page
from scratchgpt.lesson.recording import record, run_python

PACKAGE = Path(__file__).parent.parent
COPIED = 6  # consecutive lines of code that equal lines of the library
FEWEST_QUESTIONS = 2


def broken_rules(lesson, short=False):
    """What is wrong with a lesson, in words, one text per broken rule: its form, its run as a script, its page."""
    found = [*form(lesson), *copies(lesson)]
    try:
        run_as_script(lesson, short)
        size = len(page(lesson, record(lesson, short)).encode("utf-8"))
        if size > LARGEST:
            found.append(f"its page has {size:,} bytes; expected at most {LARGEST:,}: mark calls with # @over")
    except InputError as error:
        found.append(str(error))
    return found


def form(lesson):
    """The rules that can be read off the file."""
    if not re.search(r"\b\d+ minutes\b", lesson.needs):
        yield 'below the title stands no reading time ("About 15 minutes. You need ...")'
    if len(lesson.questions) < FEWEST_QUESTIONS:
        yield f"it asks {len(lesson.questions)} questions; expected at least {FEWEST_QUESTIONS} predictions"
    code = lesson.code_cells
    body = ast.parse(code[-1].text).body if code else []
    if not any(isinstance(node, ast.Assert) for node in body):
        yield "its last code cell asserts nothing"
    unknown = [name for name in lesson.homework if name not in exercise_names()]
    if not lesson.homework:
        yield "its last cell names no homework (scratchgpt homework start NAME)"
    if unknown:
        yield f"it names homework that does not exist: {', '.join(unknown)}"
    if any("![" in cell.text for cell in lesson.cells if cell.kind != "code"):
        yield "it shows an image; show values instead"
    for question in lesson.questions:
        if len({plain(option).lower() for option in question.options}) < len(question.options):
            yield f"options that read alike: {question.text}"


def copies(lesson):
    """Library code that the lesson repeats instead of importing it."""
    library = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(PACKAGE / "lessons"):
            continue
        lines = code_lines(path.read_text(encoding="utf-8"))
        for (number, _), window in windows(lines):
            library.setdefault(window, f"{path.relative_to(PACKAGE.parent).as_posix()}:{number}")
    for (number, _), window in windows(code_lines(lesson.source)):
        if window in library:
            yield f"line {number} and the {COPIED - 1} after it are {library[window]}: import it"
            return


def code_lines(source):
    """[(number, text)] of the lines that hold code, without indentation, comments and imports."""
    lines = [(number, line.partition("  #")[0].strip()) for number, line in enumerate(source.splitlines(), 1)]
    return [(number, text) for number, text in lines if text and not text.startswith(("#", "import ", "from "))]


def windows(lines):
    for i in range(len(lines) - COPIED + 1):
        yield lines[i], tuple(text for _, text in lines[i : i + COPIED])


def run_as_script(lesson, short=False):
    """Runs the file as `python lesson.py` does, warnings being errors; with the values of a quick run if short."""
    program = ["-c", ast.unparse(with_values(lesson, short=True))] if short else [str(lesson.path)]
    try:
        run_python(lesson, ["-W", "error", *program])
    except InputError as error:
        raise InputError(f"as a script: {error}") from None
