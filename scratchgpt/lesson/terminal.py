"""A lesson in the terminal: the same recording, stepped through with one-letter commands."""

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text

from scratchgpt.lesson.recording import record
from scratchgpt.lesson.show import number_text, power_of_ten

HELP = (
    "Enter or n: over, the next statement   i: into what it calls   o: out, to the caller   b: back   c: to the end of "
    "the cell   v NAME: a value   h: this help   q: quit"
)
AROUND = 3  # lines of code shown before and after the statement
MOST_UNCHANGED = 12  # names of unchanged values


@dataclass
class State:
    """A step, with all that is known at it: names, in the frame it lies in, and their values' numbers."""

    file: int
    line: int
    depth: int
    cell: int  # the number of its code cell, among all cells
    names: dict
    changed: list
    function: str
    call: bool
    out: list | None
    printed: int


def replay(recording, lesson):
    """The State at every step of a recording's first run."""
    run, ends = recording["runs"][0], [cell.end for cell in lesson.cells]
    frames, states, printed = [[0, "", 0, {}]], [], 0
    for line, changed, more in run["steps"]:
        if "in" in more:
            frames.append([*more["in"][:3], {}])
        file, function, _, names = frames[-1]
        names = {name: number for name, number in (names | changed).items() if name not in more.get("gone", ())}
        frames[-1][3] = names
        printed = more.get("printed", printed)
        outermost = line if len(frames) == 1 else frames[1][2]
        cell = next(i for i, end in enumerate(ends) if outermost <= end)
        depth = len(frames) - 1
        states.append(
            State(file, line, depth, cell, names, list(changed), function, "in" in more, more.get("out"), printed)
        )
        if "out" in more:
            frames.pop()
    return states


def over(states, i):
    """The number of the step that a move leads to, from step i (-1: nothing has run); likewise below."""
    depth = 0 if i < 0 else states[i].depth - (states[i].out is not None)
    return next((k for k in range(i + 1, len(states)) if states[k].depth <= depth), len(states) - 1)


def into(states, i):
    return min(i + 1, len(states) - 1)


def out(states, i):
    depth = 0 if i < 0 else states[i].depth
    return next((k for k in range(i + 1, len(states)) if states[k].depth < depth), i)


def back(states, i):
    depth = 0 if i < 0 else states[i].depth - states[i].call
    return next((k for k in range(i - 1, -1, -1) if states[k].depth <= depth), -1)


def to_end_of_cell(states, i):
    def end(cell):
        return max(k for k in range(len(states)) if states[k].cell == cell)

    here = -1 if i < 0 else end(states[i].cell)
    return here if here > i or i + 1 == len(states) else end(states[i + 1].cell)


MOVES = {"": over, "n": over, "i": into, "o": out, "b": back, "c": to_end_of_cell}


def step_through(lesson, short=False):
    """Steps through a lesson with commands read from standard input, until q or its end."""
    console = Console(file=sys.stdout, highlight=False)
    console.print("Running the lesson ...", style="dim")
    stepper = Stepper(lesson, record(lesson, short, lesson.slider and lesson.slider.value, html=False), console)
    stepper.read_up_to(stepper.states[0].cell)
    console.print(HELP, style="dim")
    while (command := ask(console, "> ")) is not None and command != "q":
        if not stepper.obey(command):
            break


def ask(console, prompt):
    """A line that the reader types, or None at the end of the input."""
    console.print(prompt, end="")
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        console.print(line.rstrip("\n"))
    return line.strip() if line else None


class Stepper:
    """Where the reader is in a lesson, and what the terminal shows of it."""

    def __init__(self, lesson, recording, console):
        self.lesson, self.recording, self.console = lesson, recording, console
        self.states = replay(recording, lesson)
        self.at, self.read = -1, 0  # the step; how many cells have been shown
        self.answers = dict(zip([cell.start for cell in lesson.cells if cell.question], recording["answers"]))

    def obey(self, command):
        """Does what a command says; False where the reader left off."""
        word, _, rest = command.partition(" ")
        if word == "v":
            self.show_named(rest.strip())
        elif word in MOVES:
            return self.go(MOVES[word](self.states, self.at))
        else:
            self.console.print(HELP, style="dim")
        return True

    def go(self, target):
        before = self.at
        if target == before:
            self.console.print("There is no step there." if target + 1 < len(self.states) else "The end of the lesson.")
            return True
        if target < 0:
            self.at = -1
            self.console.print("At the beginning: nothing has run.")
            return True
        if not self.read_up_to(self.states[target].cell):
            return False
        self.at = target
        self.show(before)
        if target + 1 == len(self.states):
            self.read_up_to(len(self.lesson.cells))
        return True

    def read_up_to(self, cell):
        """Shows the prose and asks the questions before a cell; False when the input ends at a question."""
        while self.read < cell:
            each = self.lesson.cells[self.read]
            if each.kind == "prose":
                self.console.print(Markdown(each.text), "")
            elif each.kind == "question" and not self.predict(each):
                return False
            self.read += 1
        return True

    def predict(self, cell):
        question, right = cell.question, self.answers[cell.start]
        options = "\n".join(f"{n}. {option}" for n, option in enumerate(question.options, 1))
        self.console.print(Markdown(f"**Predict first.** {question.text}\n\n{options}"))
        allowed = ["s", *map(str, range(1, len(question.options) + 1))]
        said = ""
        while said not in allowed:
            said = ask(self.console, f"1 to {len(question.options)}, or s to skip: ")
            if said in (None, "q"):
                return False
        verdict = "Right." if said == str(right + 1) else "Skipped." if said == "s" else "Not so."
        self.console.print(
            Markdown(f"**{verdict}** The run gives: {question.options[right]}\n\n{question.explanation}")
        )
        return True

    # ---- what a step shows

    def show(self, before):
        state = self.states[self.at]
        source = self.recording["files"][state.file]
        codes = [n for n, cell in enumerate(self.lesson.cells) if cell.kind == "code"]
        where = f"{source['name']}{f', {state.function}' if state.function else ''}"
        self.console.rule(
            f"step {self.at + 1} of {len(self.states)}, cell {codes.index(state.cell) + 1} of {len(codes)}, {where}"
        )
        end = source["ends"].get(str(state.line), state.line)
        first, last = 1, len(source["source"].splitlines())
        if state.file == 0:  # no further than the cell
            first, last = next((c.start, c.end) for c in self.lesson.cells if state.line <= c.end)
        lines = (max(first, state.line - AROUND), min(last, end + AROUND))
        highlighted = set(range(state.line, end + 1))
        self.console.print(
            Syntax(source["source"], "python", line_numbers=True, line_range=lines, highlight_lines=highlighted,
                   theme="ansi_dark", background_color="default", word_wrap=True)
        )  # fmt: skip
        if state.call:
            self.console.print(f"{state.function} is called", style="bold")
        elif state.out:
            self.console.print(f"{state.function} {state.out[0]}", style="bold")
            self.show_value("value", state.out[1])
        for name in state.changed:
            self.show_value(name, state.names[name])
        self.show_printed(before)
        rest = [name for name in state.names if name not in state.changed]
        if rest:
            more = f" and {len(rest) - MOST_UNCHANGED} more" if len(rest) > MOST_UNCHANGED else ""
            self.console.print(f"unchanged: {', '.join(rest[-MOST_UNCHANGED:])}{more}", style="dim")

    def show_printed(self, before):
        start = self.states[before].printed if before >= 0 else 0
        pieces = [piece for _, piece in self.recording["runs"][0]["output"][start : self.states[self.at].printed]]
        if pieces:
            self.console.print("printed:", style="bold")
            self.console.print(Text("".join(pieces).rstrip("\n")), soft_wrap=True)

    def show_named(self, name):
        names = self.states[self.at].names if self.at >= 0 else {}
        if name in names:
            self.show_value(name, names[name])
        else:
            self.console.print(f"there is no value {name!r} here; there are: {', '.join(names) or 'none yet'}")

    def show_value(self, name, number, indent=""):
        value = self.recording["values"][number]
        title = Text(indent).append(name, style="bold").append(f"  {value['t']}", style="dim")
        if "s" in value and "\n" not in value["s"]:
            title.append(f"  {value['s']}")
        self.console.print(title, soft_wrap=True)
        if "s" in value and "\n" in value["s"]:
            self.console.print(Text(value["s"]), soft_wrap=True)
        elif "v" in value:
            self.console.print(matrix_text(value, indent + "  "), soft_wrap=True)
        for label, part in value.get("i", []):
            self.show_value(label, part, indent + "  ")
        if "n" in value:
            self.console.print(f"{indent}  {value['n']}", style="dim")


def matrix_text(value, indent):
    """The numbers of a recorded array in rows, blue where positive and red where negative; signs are printed."""
    numbers = [n / 10 ** value["d"] if isinstance(n, int) else n for n in value["v"]]
    texts = [n if isinstance(n, str) else number_text(n, 0, value["d"]) for n in numbers]
    width, columns = max(map(len, texts), default=0), (value["shape"] or [1])[-1]
    shown = Text(indent + power_of_ten(value["e"]) + "\n" if "e" in value else "")
    for k, (number, text) in enumerate(zip(numbers, texts)):
        colour = "" if isinstance(number, str) or number == 0 else "blue" if number > 0 else "red"
        shown.append(indent if k % columns == 0 else "  ").append(f"{text:>{width}}", style=colour)
        if k % columns == columns - 1 and k + 1 < len(texts):
            matrix = columns * value["shape"][-2] if len(value["shape"]) > 2 else 0
            shown.append("\n\n" if matrix and (k + 1) % matrix == 0 else "\n")
    return shown
