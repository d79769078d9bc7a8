"""Records a lesson with sys.settrace, in this process: python -m scratchgpt.lesson.tracer LESSON OUT.

What a recording holds is said in recording.py.
"""

import argparse
import ast
import dis
import inspect
import json
import sys
import traceback
import types
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.lesson.cells import plain, read_lesson, with_values
from scratchgpt.lesson.statements import Source, Statement
from scratchgpt.lesson.values import HIDDEN, Pool

PACKAGE = Path(__file__).parent.parent
OP_TABLE = str(PACKAGE / "ops" / "__init__.py")
WORTH_READING = (  # what a reader can step into
    "ops/reference.py", "blocks.py", "models/", "objectives/", "tokenizers/algorithm1.py", "optim.py", "sampling.py",
)  # fmt: skip
PLUMBING = {  # functions of these files that say nothing about the subject
    "read_batch", "host_array", "check_length", "check_settings", "row_chunks", "cuts",
    "norm_spec", "linear_spec", "activation_bytes", "count_targets", "check_ids", "check_rows", "check_rate",
    "refuse_rows_without_words",
}  # fmt: skip
MOST_STEPS = 5000  # of one run


class TooManySteps(InputError):
    """A run has more steps than anybody steps through."""


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="scratchgpt.lesson.tracer")
    parser.add_argument("lesson")
    parser.add_argument("out")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--value", type=float)
    args = parser.parse_args(arguments)
    try:
        recording = record_here(read_lesson(args.lesson), args.short, args.value, not args.text)
    except InputError as error:
        sys.exit(" ".join(str(error).splitlines()))
    Path(args.out).write_text(json.dumps(recording, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")


def record_here(lesson, short=False, value=None, html=True):
    """The recording of a Lesson at every position of its slider, or only at `value`."""
    library = Library(lesson)
    pool, runs, answers = Pool(html), [], []
    for position in positions(lesson.slider, short) if value is None else [value]:
        run = Run(lesson, library, pool, with_values(lesson, short, position))
        with blank_memory():
            found = run.go(with_answers=not runs)
        answers = answers or found
        first = runs[0]["steps"] if runs else []
        same = next((i for i, (ours, theirs) in enumerate(zip(run.steps, first)) if ours != theirs), len(first))
        runs.append({"value": position, "same": same, "steps": run.steps[same:], "output": run.output})
    files = [source.described() for source in library.stepped]
    return {"files": files, "values": pool.values, "runs": runs, "answers": answers}


@contextmanager
def blank_memory():
    """np.empty and np.empty_like give NaN, or 0 where there is none: an array that is shown before it is written must
    not hold whatever was in memory, which differs from process to process."""
    makers = {name: getattr(np, name) for name in ("empty", "empty_like")}

    def blank(make):
        def made(*args, **kwargs):
            array = make(*args, **kwargs)
            if array.dtype.kind in "fciub":
                array.fill(np.nan if array.dtype.kind in "fc" else 0)
            return array

        return made

    for name, make in makers.items():
        setattr(np, name, blank(make))
    try:
        yield
    finally:
        for name, make in makers.items():
            setattr(np, name, make)


def positions(slider, short):
    """The slider's values to run, the lesson's own first, and in a quick run only its ends; [None] without a slider."""
    if slider is None:
        return [None]
    values = [slider.values[0], slider.values[-1]] if short else slider.values
    return [slider.value, *(each for each in values if each != slider.value)]


class Library:
    """Which functions are worth stepping into, and the files they are in."""

    def __init__(self, lesson):
        self.path = str(lesson.path)
        self.sources = {self.path: Source(lesson.path.name, lesson.source, lesson.marks)}
        self.places = {}  # code object -> Source, or None
        self.stepped = []
        self.number(self.sources[self.path])

    def number(self, source):
        """A file's number, given when the first step lies in it."""
        if source.number is None:
            source.number = len(self.stepped)
            self.stepped.append(source)
        return source.number

    def place(self, code):
        """The Source of a function to step into, or None."""
        if code not in self.places:
            self.places[code] = self._find(code)
        return self.places[code]

    def _find(self, code):
        path, name = code.co_filename, code.co_name
        if path == self.path and name == "<module>":
            return self.sources[path]
        if name.startswith(("<", "__")) or not code.co_flags & inspect.CO_OPTIMIZED:
            return None  # comprehensions, lambdas, modules being imported; special methods; the bodies of classes
        if path != self.path and not is_worth_reading(code):
            return None
        if path not in self.sources:
            inner = Path(path).relative_to(PACKAGE.parent).as_posix()
            self.sources[path] = Source(inner, Path(path).read_text(encoding="utf-8"), {})
        source = self.sources[path]
        return None if source.at(code.co_firstlineno).mark else source


def is_worth_reading(code):
    """Whether a function is one of the library's that a reader steps into."""
    path = Path(code.co_filename)
    inner = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""
    return inner.startswith(WORTH_READING) and code.co_name not in PLUMBING and not is_property(code, inner)


def is_property(code, inner):
    """Whether a function of the library is a property's: looking at a value is no step."""
    module = sys.modules.get("scratchgpt." + inner.removesuffix(".py").replace("/", "."))
    owner, _, name = code.co_qualname.rpartition(".")
    found = getattr(module, owner, None) if owner else None
    return found is not None and isinstance(inspect.getattr_static(found, name, None), property)


@dataclass
class Frame:
    """A function that is being stepped through, or the lesson itself."""

    frame: types.FrameType | None
    source: Source
    pending: Statement | None = None  # what runs now; its step is written when it is done
    shown: dict = field(default_factory=dict)  # {name: value's number} as of the last step
    raising: bool = False


class Run:
    """One run of a lesson: its steps and its output."""

    def __init__(self, lesson, library, pool, tree):
        self.lesson, self.library, self.pool, self.tree = lesson, library, pool, tree
        self.steps, self.output = [], []
        self.module = Frame(None, library.sources[library.path])
        self.imported = imported_names(tree)
        self.frames = []  # being stepped through, the innermost last
        self.suspended = {}  # generators that have yielded: their frame -> Frame
        self.muted = False  # while a marked statement runs
        self.cell, self.cell_start, self.printed = 0, 0, []

    def go(self, with_answers):
        """Runs the cells in turn; returns the answers of the questions, if asked to."""
        module = types.ModuleType("__main__")
        vars(module).update(__file__=self.library.path, print=self.print)
        before = sys.stdout, sys.modules["__main__"], list(sys.path)
        sys.stdout, sys.modules["__main__"] = self, module
        sys.path.insert(0, str(self.lesson.path.parent.resolve()))
        answers, asked = [], []
        try:
            for number, cell in enumerate(self.lesson.cells):
                if cell.kind == "question":
                    asked.append(cell)
                elif cell.kind == "code":
                    self.cell, self.cell_start = number, len(self.steps)
                    self.run_cell(cell, vars(module))
                    if with_answers:
                        answers += [self.answer(each, vars(module)) for each in asked]
                    asked = []
        finally:
            sys.stdout, sys.modules["__main__"], sys.path[:] = before
        return answers

    def run_cell(self, cell, namespace):
        body = [node for node in self.tree.body if cell.start <= node.lineno <= cell.end]
        code = compile(ast.Module(body=body, type_ignores=[]), self.library.path, "exec")
        sys.settrace(self.on_call)
        try:
            exec(code, namespace)
        except TooManySteps:
            raise
        except (Exception, SystemExit) as error:  # whatever the lesson's own code raises
            lines = [
                line for frame, line in traceback.walk_tb(error.__traceback__)
                if frame.f_code.co_filename == self.library.path
            ]  # fmt: skip
            self.refuse(lines[-1] if lines else cell.start, told(error))
        finally:
            sys.settrace(None)
            self.frames.clear()

    def answer(self, cell, namespace):
        """The number of the option that is right, as the run says."""
        expression = cell.question.answer
        try:
            said = str(eval(expression, namespace))
        except Exception as error:  # whatever the lesson's own expression raises
            self.refuse(cell.start, f"the answer {expression} stops with {told(error)}")
        options = [plain(option) for option in cell.question.options]
        if said not in options:
            self.refuse(cell.start, f"the run answers {said!r}; the options are {', '.join(map(repr, options))}")
        return options.index(said)

    def refuse(self, line, reason):
        raise InputError(f"{self.lesson.path}:{line}: {reason}") from None

    # ---- output: sys.stdout while the lesson runs

    def print(self, *values, **options):
        """print, but a display object alone is kept as what it is."""
        if self.pool.html and len(values) == 1 and not options and hasattr(values[0], "_repr_html_"):
            self.printed.append(self.pool.put(values[0]))
        else:
            print(*values, **options)

    def write(self, text):
        if self.printed and isinstance(self.printed[-1], str):
            self.printed[-1] += text
        elif text:
            self.printed.append(text)
        return len(text)

    def flush(self):
        """Output is not held back."""

    def isatty(self):
        return False

    # ---- steps

    def on_call(self, frame, event, arg):
        """Python calls this at every call; what it returns is called at every line of that frame."""
        if self.muted:
            return None
        source = self.library.place(frame.f_code)
        if source is None or (self.frames and caller(frame) is not self.frames[-1].frame):
            return None
        if not self.frames:
            self.module.frame = frame
            self.frames.append(self.module)
            return self.on_event
        resumed = frame in self.suspended
        one = self.suspended.pop(frame, None) or Frame(frame, source)
        above = self.frames[-1].pending
        call = [self.library.number(source), frame.f_code.co_name, above.start if above else 0, int(resumed)]
        self.frames.append(one)
        one.shown = {}  # all of it is said again when a generator goes on
        self.step(one, one.pending or source.at(frame.f_code.co_firstlineno), {"in": call})
        one.pending = None
        return self.on_event

    def on_event(self, frame, event, arg):
        """Python calls this at every line, exception and return of the frames that are stepped through."""
        one = self.frames[-1] if self.frames else None
        if one is None or one.frame is not frame:  # a generator that something else closes
            return None
        if event == "line":
            one.raising = False
            statement = one.source.at(frame.f_lineno)
            if statement is not one.pending:
                done, one.pending = one.pending, statement
                if done is not None and done.mark != "skip" and not (one is self.module and done.quiet):
                    self.step(one, done, {})
                self.muted = statement.mark is not None
        elif event == "exception":
            one.raising = True
        elif event == "return":
            self.leave(one, arg)
        return self.on_event

    def leave(self, one, value):
        """A function returns or yields, or a cell ends."""
        statement, one.pending = one.pending or one.source.at(one.frame.f_lineno), None
        if one is self.module:
            silent = statement.quiet or statement.mark == "skip"
            if not silent or len(self.steps) == self.cell_start or self.printed or self.snapshot(one) != one.shown:
                self.step(one, statement, {})
        else:
            yields = not one.raising and is_yield(one.frame)
            how = "raises" if one.raising else "yields" if yields else "returns"
            self.step(one, statement, {"out": [how, self.pool.put(value)]})
            if yields:
                one.pending = statement
                self.suspended[one.frame] = one
        self.frames.pop()
        self.muted = False

    def step(self, one, statement, more):
        if len(self.steps) >= MOST_STEPS:
            how = "mark a loop with # @skip, or a call with # @over"
            raise TooManySteps(f"{self.lesson.path}: more than {MOST_STEPS:,} steps; {how}")
        now = self.snapshot(one)
        changed = {name: number for name, number in now.items() if one.shown.get(name) != number}
        gone = [name for name in one.shown if name not in now]
        one.shown = now
        if gone:
            more["gone"] = gone
        if self.printed:
            self.output += [[self.cell, piece] for piece in self.printed]
            self.printed = []
            more["printed"] = len(self.output)
        self.steps.append([statement.start, changed, more])

    def snapshot(self, one):
        """{name: value's number} of what a frame's variables hold now."""
        hidden = self.imported if one is self.module else ()
        return {
            name: self.pool.put(value)
            for name, value in list(one.frame.f_locals.items())
            if not name.startswith(("_", ".")) and not isinstance(value, HIDDEN) and name not in hidden
        }


def imported_names(tree):
    """The names that a lesson imports and never assigns."""
    nodes = list(ast.walk(tree))
    imports = (node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {alias.asname or alias.name for node in imports for alias in node.names} - assigned


def told(error):
    """ "NameError: name 'x' is not defined", as Python says it."""
    return "".join(traceback.format_exception_only(error)).strip()


def caller(frame):
    """The frame that called this one, seen through comprehensions, lambdas and the op table."""
    back = frame.f_back
    while back is not None and is_transparent(back.f_code):
        back = back.f_back
    return back


def is_transparent(code):
    return (code.co_name.startswith("<") and code.co_name != "<module>") or code.co_filename == OP_TABLE


def is_yield(frame):
    """Whether a frame that leaves without raising yields: the last instruction of a generator was no return."""
    code = frame.f_code
    generator = bool(code.co_flags & inspect.CO_GENERATOR)
    return generator and not dis.opname[code.co_code[frame.f_lasti]].startswith("RETURN")


if __name__ == "__main__":
    main()
