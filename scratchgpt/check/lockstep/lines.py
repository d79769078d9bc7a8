"""Which lines of the model ran between two calls of ops, from the functions that led to each."""

from pathlib import Path

import scratchgpt
from scratchgpt.check.lockstep.report import Lines

PACKAGE = Path(scratchgpt.__file__).parent
TOOLS = (str(PACKAGE / "check"), str(PACKAGE / "ops" / "__init__.py"))  # frames of ours that are not the model's


def model_frames(stack):
    """The (code, line) of a stack that belong to the model, the outermost first: from its first function to the op."""
    frames = []
    for code, line in stack:  # the innermost first
        if code.co_filename.startswith(TOOLS) and frames:
            break
        if not code.co_filename.startswith(TOOLS):
            frames.append((code, line))
    return frames[::-1]


def lines_of(code, first=None, last=None):
    numbers = [line for *_, line in code.co_lines() if line is not None]
    return Lines(code.co_filename, first or code.co_firstlineno, last or max(numbers), code.co_qualname)


def op_lines(function):
    """The whole of an op, if it is written in Python."""
    return (lines_of(function.__code__),) if hasattr(function, "__code__") else ()


def call_lines(stack):
    """The line of each call that led to an op, the innermost first."""
    return tuple(lines_of(code, line, line) for code, line in reversed(model_frames(stack)))


def lines_after(stack):
    """What a function does with the result of an op that it called."""
    code, line = model_frames(stack)[-1]
    return lines_of(code, line)


def lines_between(before, after):
    """What ran from one call to a later one, in the order in which it ran: the rest of the functions that the first one
    was in, the lines of the function that both came from, the beginning of the functions that led to the second."""
    before, after = model_frames(before), model_frames(after)
    shared = 0
    while shared < min(len(before), len(after)) and before[shared] == after[shared]:
        shared += 1
    b, a = before[shared:], after[shared:]
    if b and a and b[0][0] is a[0][0]:
        if b[0][1] < a[0][1] or shared == 0:  # one function, two of its lines
            middle, b, a = [lines_of(b[0][0], b[0][1], a[0][1])], b[1:], a[1:]
        else:  # the lines run backwards: it was called twice, by a loop
            middle = [lines_of(before[shared - 1][0], before[shared - 1][1], before[shared - 1][1])]
    else:
        middle = []
    ends = [lines_of(code, line) for code, line in reversed(b)]
    starts = [lines_of(code, None, line) for code, line in a]
    return tuple(ends + middle + starts) or (lines_of(*after[-1], after[-1][1]),)
