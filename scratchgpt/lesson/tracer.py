"""Runs a lesson and records it, line by line, with sys.settrace: `record` does so in a process of its own.

A step is a statement that has just run, with the values that it changed. The recording is JSON:
    "files"    [{"name", "source", "ends": {first line of a statement: its last}}]; the lesson is the first
    "values"   see values.py
    "runs"     one per position of the slider: {"value", "steps", "output", "same": steps shared with the first run}
    "answers"  of the questions, from the lesson's own value of the slider
    step       [line, {name: value}, more]; more may hold "in": [file, function, line of the caller, "resumed" or ""]
               for a call, "out": [how, value] for a return ("returns", "yields", "raises"), "gone": names that
               disappeared, "printed": how many pieces of output there are by now
    output     [cell, text] or [cell, number of a value], a display object that was printed
"""

import argparse
import ast
import dis
import inspect
import json
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path

from scratchgpt.backend import child_environment
from scratchgpt.errors import InputError
from scratchgpt.lesson.cells import plain, read_lesson
from scratchgpt.lesson.values import HIDDEN, Pool

PACKAGE = Path(__file__).parent.parent
WORTH_READING = (  # what a reader can step into
    "ops/reference.py", "blocks.py", "models/", "tokenizers/algorithm1.py", "optim.py", "sampling.py",
)  # fmt: skip
PLUMBING = {
    "read_batch",
    "host_array",
    "check_length",
    "check_settings",
    "normal_cdf",
    "cuts",
    "norm_spec",
    "linear_spec",
}
MOST_STEPS = 5000  # of one run
QUIET = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Global, ast.Nonlocal, ast.Pass)
TIME_LIMIT = 600  # seconds for a lesson, with every position of its slider
SINGLE_THREADED = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "MKL", "OMP", "BLIS", "VECLIB_MAXIMUM")}


def record(lesson, short=False, value=None, time_limit=TIME_LIMIT):
    """The recording of a Lesson: every position of its slider, or only `value`.

    The same lesson gives the same recording: strings hash alike and BLAS has one thread. Raises InputError when the
    lesson stops with an error, takes too long, or breaks a rule.
    """
    with tempfile.TemporaryDirectory(prefix="scratchgpt-") as folder:
        out = Path(folder) / "recording.json"
        command = [sys.executable, "-m", "scratchgpt.lesson.tracer", str(lesson.path), str(out)]
        command += ["--short"] * short + ([] if value is None else [f"--value={value!r}"])
        try:
            done = subprocess.run(
                command, env=child_environment(PYTHONHASHSEED="0", **SINGLE_THREADED), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=time_limit,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise InputError(f"{lesson.path} ran for {time_limit} s and was stopped") from None
        if done.returncode:
            raise InputError(
                (done.stderr.strip() or f"{lesson.path} ended with code {done.returncode}").split("\n")[-1]
            )
        return json.loads(out.read_text(encoding="utf-8"))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="scratchgpt.lesson.tracer")
    parser.add_argument("lesson")
    parser.add_argument("out")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--value", type=float)
    args = parser.parse_args(arguments)
    try:
        recording = record_here(read_lesson(args.lesson), args.short, args.value)
    except InputError as error:
        sys.exit(str(error))
    Path(args.out).write_text(json.dumps(recording, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")


def record_here(lesson, short=False, value=None):
    """The recording, made in this process; see record."""
    pool, sources = Pool(), {}
    slider = lesson.slider
    own = None if slider is None else slider.value
    values = [own] if slider is None else [own, *(v for v in slider.values if v != own)] if value is None else [value]
    runs, answers = [], []
    for position in values:
        run = Run(lesson, pool, sources, short, position)
        found = run.go(with_answers=position == values[0])
        answers = answers or found
        first = runs[0]["steps"] if runs else []
        same = next(
            (i for i, pair in enumerate(zip(run.steps, first)) if pair[0] != pair[1]), min(len(first), len(run.steps))
        )
        runs.append({"value": position, "steps": run.steps[same:], "same": same, "output": run.output})
    files = [source.described() for source in sources.values()]
    return {"files": files, "values": pool.values, "runs": runs, "answers": answers}


# ---- what the lines of a file are


@dataclass
class Statement:
    """A simple statement, or the head of a compound one; of a marked one, all of it."""

    start: int
    end: int
    mark: str | None = None
    quiet: bool = False


@dataclass
class Source:
    """A file that is stepped through."""

    number: int
    name: str
    text: str
    statements: dict  # line -> Statement

    def described(self):
        spans = {each.start: each.end for each in self.statements.values() if each.end > each.start}
        return {"name": self.name, "source": self.text, "ends": spans}


def statements_of(tree, marks):
    """{line: Statement} of a parsed file."""
    table = {}

    def visit(node):
        start = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        parts = [*inner_blocks(node)]
        end = node.end_lineno if not parts else max(start, parts[0][0].lineno - 1)
        mark = next((marks[line] for line in range(start, end + 1) if line in marks), None)
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        one = Statement(start, end, mark, isinstance(node, QUIET) or docstring)
        for line in range(start, (node.end_lineno if mark else end) + 1):
            table[line] = one
        if mark is None:
            for block in parts:
                for each in block:
                    visit(each)

    for node in tree.body:
        visit(node)
    return table


def inner_blocks(node):
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
            yield block
    yield from ([each] for each in getattr(node, "handlers", []))
    yield from (case.body for case in getattr(node, "cases", []))


# ---- one run


@dataclass
class Frame:
    """A function that is being stepped through, or the lesson itself."""

    frame: types.FrameType
    source: Source
    pending: Statement | None = None  # what runs now; its step is written when it is done
    shown: dict = field(default_factory=dict)  # name -> value's number, as of the last step
    raising: bool = False


class Run:
    """One run of a lesson: steps and output."""

    def __init__(self, lesson, pool, sources, short, value):
        self.lesson, self.pool, self.sources = lesson, pool, sources
        self.steps, self.output = [], []
        self.frames, self.suspended = [], {}
        self.muted = False
        self.places = {}
        self.cell, self.printed = 0, []
        self.tree = substituted(lesson, short, value)
        path = str(lesson.path)
        if path not in sources:
            sources[path] = Source(0, lesson.path.name, lesson.source, statements_of(lesson.tree, lesson.marks))

    def go(self, with_answers):
        """Runs the cells in turn, and returns the answers of the questions."""
        path = str(self.lesson.path)
        module = types.ModuleType("__main__")
        namespace = vars(module) | {"__file__": path, "print": self.print}
        vars(module).update(namespace)
        before = sys.stdout, sys.modules["__main__"], list(sys.path)
        sys.stdout, sys.modules["__main__"] = self, module
        sys.path.insert(0, str(self.lesson.path.parent.resolve()))
        answers, open_questions = [], []
        try:
            for number, cell in enumerate(self.lesson.cells):
                self.cell = number
                if cell.kind == "question":
                    open_questions.append(cell)
                if cell.kind == "code":
                    self.run_cell(cell, vars(module))
                    if with_answers:
                        answers += [self.answer(each, vars(module)) for each in open_questions]
                    open_questions = []
        finally:
            sys.stdout, sys.modules["__main__"], sys.path[:] = before
        return answers

    def run_cell(self, cell, namespace):
        body = [node for node in self.tree.body if cell.start <= node.lineno <= cell.end]
        code = compile(ast.Module(body=body, type_ignores=[]), str(self.lesson.path), "exec")
        first = len(self.steps)
        sys.settrace(self.on_call)
        try:
            exec(code, namespace)
        except Exception as error:  # whatever the lesson's code raises
            raise InputError(f"{self.lesson.path}:{self.line_of(error)}: {type(error).__name__}: {error}") from None
        finally:
            sys.settrace(None)
            self.frames.clear()
        steps = self.steps[first:]
        kept = [step for step in steps[:-1] if not step[2].pop("quiet", False)] + steps[-1:]
        for step in steps[-1:]:
            step[2].pop("quiet", None)
        self.steps[first:] = kept
        if self.printed and kept:  # after the last step, by a statement without one
            self.flush(kept[-1][2])

    def line_of(self, error):
        lines = [line for frame, line in walk(error.__traceback__) if frame.f_code.co_filename == str(self.lesson.path)]
        return lines[-1] if lines else 1

    def answer(self, cell, namespace):
        """The number of the option that the run says is right."""
        question = cell.question
        try:
            said = str(eval(question.answer, namespace))
        except Exception as error:  # whatever the lesson's expression raises
            what = f"{type(error).__name__}: {error}"
            raise InputError(
                f"{self.lesson.path}:{cell.start}: the answer {question.answer} stops with {what}"
            ) from None
        options = [plain(option) for option in question.options]
        if said not in options:
            raise InputError(f"{self.lesson.path}:{cell.start}: the run says {said!r}, which is no option of {options}")
        return options.index(said)

    # ---- output

    def print(self, *values, **options):
        """print, but a display object alone is kept as what it is."""
        if len(values) == 1 and not options and hasattr(values[0], "_repr_html_"):
            self.printed.append(self.pool.put(values[0]))
        else:
            print(*values, **options)

    def write(self, text):
        if self.printed and isinstance(self.printed[-1], str):
            self.printed[-1] += text
        elif text:
            self.printed.append(text)
        return len(text)

    def flush(self, more=None):
        """Gives what was printed since the last step to a step; as a stream's flush, does nothing."""
        if more is not None and self.printed:
            self.output += [[self.cell, piece] for piece in self.printed]
            self.printed = []
            more["printed"] = len(self.output)

    def isatty(self):
        return False

    # ---- tracing

    def on_call(self, frame, event, arg):
        """Python calls this for every call; what it returns is called for every line of that frame."""
        if self.muted:
            return None
        source = self.place(frame.f_code)
        if source is None or (self.frames and self.caller(frame) is not self.frames[-1].frame):
            return None
        if not self.frames:
            self.frames.append(Frame(frame, source, shown=self.shown_before()))
            return self.on_event
        resumed = frame in self.suspended
        one = self.suspended.pop(frame, None) or Frame(frame, source)
        above = self.frames[-1].pending
        self.frames.append(one)
        statement = one.pending if resumed else source.statements.get(frame.f_code.co_firstlineno)
        if resumed:
            one.shown = {}
        call = [source.number, frame.f_code.co_name, above.start if above else 0, "resumed" if resumed else ""]
        self.step(one, statement or Statement(frame.f_lineno, frame.f_lineno), {"in": call})
        one.pending = None
        return self.on_event

    def shown_before(self):
        """What the lesson's own values were at the end of the cell before."""
        return getattr(self, "kept", {})

    def on_event(self, frame, event, arg):
        one = self.frames[-1] if self.frames else None
        if one is None or one.frame is not frame:  # a generator that is closed from elsewhere
            return None
        if event == "line":
            statement = one.source.statements.get(frame.f_lineno) or Statement(frame.f_lineno, frame.f_lineno)
            one.raising = False
            if statement is not one.pending:
                self.finish(one, {})
                one.pending = statement
                self.muted = statement.mark is not None
        elif event == "exception":
            one.raising = True
        elif event == "return":
            self.leave(one, arg)
        return self.on_event

    def finish(self, one, more):
        """The pending statement is done: its step is written."""
        statement, one.pending = one.pending, None
        if statement is not None and statement.mark != "skip":
            if len(self.frames) == 1 and statement.quiet:
                more["quiet"] = True
            self.step(one, statement, more)

    def leave(self, one, value):
        statement = one.pending
        if len(self.frames) == 1:
            self.finish(one, {})
            self.kept = one.shown
        else:
            frame = one.frame
            yields = not one.raising and is_yield(frame)
            how = "raises" if one.raising else "yields" if yields else "returns"
            more = {"out": [how, self.pool.put(value)]}
            one.pending = statement or Statement(frame.f_lineno, frame.f_lineno)
            self.finish(one, more) if one.pending.mark != "skip" else self.step(one, one.pending, more)
            if yields:
                one.pending = statement
                self.suspended[frame] = one
        self.frames.pop()
        self.muted = False

    def step(self, one, statement, more):
        if len(self.steps) >= MOST_STEPS:
            raise InputError(
                f"{self.lesson.path}: more than {MOST_STEPS:,} steps; mark a loop with # @skip, or a call with # @over"
            )
        now = {
            name: self.pool.put(value)
            for name, value in list(one.frame.f_locals.items())
            if not name.startswith(("_", ".")) and not isinstance(value, HIDDEN)
        }
        changed = {name: number for name, number in now.items() if one.shown.get(name) != number}
        gone = [name for name in one.shown if name not in now]
        if gone:
            more["gone"] = gone
        one.shown = now
        self.flush(more)
        self.steps.append([statement.start, changed, more])

    def place(self, code):
        """The Source of a function that is worth stepping into, or None."""
        if code not in self.places:
            self.places[code] = self.find_place(code)
        return self.places[code]

    def find_place(self, code):
        path, name = code.co_filename, code.co_name
        own = path == str(self.lesson.path)
        if not own:
            try:
                short = Path(path).relative_to(PACKAGE).as_posix()
            except ValueError:
                return None
            if not short.startswith(WORTH_READING) or name in PLUMBING or is_property(code, short):
                return None
        if name != "<module>" and name.startswith(("<", "__")):
            return None
        if path not in self.sources:
            text = Path(path).read_text(encoding="utf-8")
            self.sources[path] = Source(
                len(self.sources), f"scratchgpt/{short}", text, statements_of(ast.parse(text), {})
            )
        source = self.sources[path]
        head = source.statements.get(code.co_firstlineno)
        return None if name != "<module>" and head is not None and head.mark else source

    def caller(self, frame):
        """The frame that called this one, seen through comprehensions, lambdas and the op table."""
        back = frame.f_back
        while back is not None and (
            (back.f_code.co_name.startswith("<") and back.f_code.co_name != "<module>")
            or back.f_code.co_filename == str(PACKAGE / "ops" / "__init__.py")
        ):
            back = back.f_back
        return back


def substituted(lesson, short, value):
    """The lesson's syntax tree, with the slider at `value` and, if short, the values of a quick run."""
    tree = ast.parse(lesson.source, str(lesson.path))
    new = dict(lesson.shorts) if short else {}
    if lesson.slider is not None and value is not None:
        new[lesson.slider.line] = type(lesson.slider.value)(value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and node.lineno in new:
            node.value = ast.copy_location(ast.parse(repr(new[node.lineno]), mode="eval").body, node.value)
            ast.increment_lineno(node.value, 0)
    return ast.fix_missing_locations(tree)


def is_property(code, short):
    """Whether a function of the library is a property's: looking at a value is no step."""
    module = sys.modules.get("scratchgpt." + short.removesuffix(".py").replace("/", "."))
    owner, _, name = code.co_qualname.rpartition(".")
    found = getattr(module, owner, None) if owner and "<" not in owner else None
    return isinstance(inspect.getattr_static(found, name, None), property) if found is not None else False


def is_yield(frame):
    code = frame.f_code
    return bool(code.co_flags & inspect.CO_GENERATOR) and dis.opname[code.co_code[frame.f_lasti]] == "YIELD_VALUE"


def walk(traceback):
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


if __name__ == "__main__":
    main()
