"""The process a student's file runs in: `python -I runner.py FILE LIBRARY`, requests on stdin, answers on stdout. The
first request is the text of the file and that of the functions it is given, the others are cases.

It has a limit on time and memory, writes no file, starts no process, opens no socket and cannot import the library. It
never learns the right answers. That is a fence, not a sandbox: it stops accidents and copying, not an attacker.
This file imports nothing of scratchgpt; `grade.py` imports `pack` and `unpack` from it.
"""

import functools
import inspect
import json
import os
import signal
import sys
import traceback
import tracemalloc
from types import SimpleNamespace

import numpy

np = SimpleNamespace(**vars(numpy))  # a student's file may change the module itself
CASE_SECONDS = 1.0  # of processor time; a case takes milliseconds
GIVEN = "<given>"  # the file name of functions that an exercise gives
MEMORY = 2 << 30  # bytes of address space
LARGEST = 1 << 24  # bytes of an array that is sent; a case's arrays have kilobytes
LONGEST = 300  # characters of an error's message
FORBIDDEN = ("scratchgpt", "torch", "jax", "tensorflow", "autograd", "cupy", "mygrad", "tinygrad")
DENIED = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill", "socket.", "ctypes.",
          "shutil.", "os.link", "os.symlink", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod",
          "os.truncate")  # fmt: skip


# ---- values as bytes: JSON for the structure, raw memory for the arrays


def pack(value):
    """A tree of None, bool, int, float, str, bytes, list, tuple, dict, set and arrays, as bytes."""
    memory = bytearray()
    head = json.dumps(encode(value, memory)).encode()
    return len(head).to_bytes(8, "big") + head + memory


def unpack(data):
    """The inverse of pack."""
    size = int.from_bytes(data[:8], "big")
    return decode(json.loads(data[8 : 8 + size]), memoryview(data)[8 + size :])


def encode(value, memory):
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)  # of a subclass: the numbers alone
        if array.dtype.kind not in "biufc" or array.nbytes > LARGEST:
            return {"other": f"array of {array.dtype} in the shape {array.shape}"}
        offset = len(memory)
        memory += array.tobytes()
        return {"array": [array.dtype.str, array.shape, offset, isinstance(value, np.generic)]}
    if isinstance(value, Other):
        return {"other": str(value)}
    if value is None or isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**64):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, dict):
        return {"dict": [[encode(key, memory), encode(each, memory)] for key, each in value.items()]}
    for kind in (list, tuple):
        if isinstance(value, kind):
            return {kind.__name__: [encode(each, memory) for each in value]}
    for kind in (set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: sorted([encode(each, memory) for each in value], key=repr)}
    return {"other": type(value).__name__}


class Other(str):
    """The name of the type of a value that is neither a number, a text, an array nor a collection of them."""


def decode(value, chunks):
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "array":
        dtype, shape, offset, scalar = held
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(chunks[offset : offset + count * dtype.itemsize], dtype).reshape(shape).copy()
        return array[()] if scalar else array
    if kind == "bytes":
        return held.encode("latin-1")
    if kind == "other":
        return Other(held)
    if kind == "dict":
        return {decode(key, chunks): decode(each, chunks) for key, each in held}
    made = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind]
    return made(decode(each, chunks) for each in held)


def plain(value):
    """A copy made of plain types; an Other where the value cannot be had as one: it nests without end, or a method of
    a student's own class fails."""
    try:
        return unpack(pack(value))
    except Exception:  # whatever a student's class can raise
        return Other(type(value).__name__)


def send(stream, value):
    data = pack(value)
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def receive(stream):
    """The next message, or None at the end of the stream."""
    head = stream.read(8)
    data = stream.read(int.from_bytes(head, "big"))
    return unpack(data) if len(head) == 8 and len(data) == int.from_bytes(head, "big") else None


# ---- the fence


class OutOfTime(BaseException):
    """A case took longer than it may; no `except Exception` in the student's code catches it."""


def out_of_time(number, frame):
    raise OutOfTime


def limit_resources(write=False):
    try:
        import resource
    except ImportError:  # Windows has no limits to set; the parent's own limit on time remains
        return
    limits = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CORE: 0} | ({} if write else {resource.RLIMIT_FSIZE: 0})
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def fence(library):
    """From here on: no import of the library or of a framework, no file written, nothing of the library read."""

    def hook(event, args):
        if event == "import" and args[0].partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{args[0]} may not be imported in an exercise")
        if event == "open":
            path, mode, flags = args[0], args[1] or "r", args[2] or 0
            writes = set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            inside = isinstance(path, str | bytes) and os.path.realpath(os.fsdecode(path)).startswith(library)
            if writes or inside:
                raise PermissionError(f"an exercise may not open {path!r}")
        elif event.startswith(DENIED):
            raise PermissionError(f"an exercise may not use {event}")

    sys.addaudithook(hook)


def timer(seconds):
    """An OutOfTime after that much processor time; 0 ends the watch."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


# ---- running cases


UNWRITTEN = [np.nan]  # what np.empty holds, so that a place that is never written shows, and always alike


def filled(make):
    """np.empty or np.empty_like, but for what it holds."""

    @functools.wraps(make)
    def made(*arguments, **options):
        array = make(*arguments, **options)
        if array.dtype.kind in "fc":
            array.fill(UNWRITTEN[0])
        return array

    return made


class Watcher:
    """A line tracer over the student's file: stops at the first array that `found` accepts, and remembers where."""

    def __init__(self, path, found):
        self.path, self.found, self.where, self.line = path, found, None, {}

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != self.path:
            return None
        if self.where is None:
            for name, value in [*frame.f_locals.items(), ("the result", argument if event == "return" else None)]:
                for each in value if isinstance(value, tuple) else (value,):
                    numbers = isinstance(each, np.ndarray | np.generic | float)
                    if numbers and self.line.get(frame) and self.found(np.asarray(each)):
                        self.where = self.where or {"line": self.line[frame], "name": name}
        self.line[frame] = frame.f_lineno
        return self


FOUND = {
    "nan": lambda a: a.dtype.kind in "fc" and bool(np.isnan(a).any()),
    "inf": lambda a: a.dtype.kind == "f" and bool(np.isposinf(a).any()),  # -inf is what hides a score
    "float32": lambda a: a.dtype in (np.float32, np.float16, np.complex64),
}


def run_cases(functions, path, cases):
    """The answers to the cases. After one that does not come to an end the others get little time: they would not."""
    seconds = CASE_SECONDS
    for case in cases:
        answer = run_case(functions, path, seconds, **case)
        if any(problem["kind"] == "loop" for problem in answer["problems"].values()):
            seconds = CASE_SECONDS / 20
        yield answer


def run_case(functions, path, seconds, calls, inputs, look_for=None, read_only=False, weigh=False):
    """{"results", "overwritten", "views", "problems", "found", "held"} of one case.

    problems: {result: why it is missing}; the other results stay. held: with weigh, {function: the most bytes that it
    had allocated at a time}.
    """
    answer = {"results": {}, "overwritten": [], "views": [], "problems": {}, "found": None, "held": {}}
    known, problems = {"ops": SimpleNamespace(**functions)}, answer["problems"]
    UNWRITTEN[0] = 0 if look_for else np.nan  # a search is for what the student's own lines make
    watcher = Watcher(path, FOUND[look_for]) if look_for else None
    changing = {name for call in calls for name in call["changes"]}
    held = {name: inputs[name].copy() for name in changing if isinstance(inputs.get(name), np.ndarray)}
    for call in calls:
        arguments, kept = [], {}
        lacking = [problems[name] for name in call["arguments"] if name in problems]
        if lacking or any(problem["kind"] in ("loop", "memory") for problem in problems.values()):
            problems |= dict.fromkeys([*call["gives"], *call["changes"]], [*lacking, *problems.values()][0])
            continue
        for name in call["arguments"]:
            value = held.get(name, known.get(name, inputs.get(name)))
            if name in inputs and name not in held:
                value = kept[name] = plain(value)
                if isinstance(value, np.ndarray):
                    value.flags.writeable = not read_only
            arguments.append(value)
        problem, named, copies, most = attempt(call, functions, arguments, path, seconds, watcher, weigh)
        answer["held"][call["function"]] = most
        if problem:
            problems |= dict.fromkeys([*call["gives"], *call["changes"]], problem)
            continue
        for name in kept:
            if pack(kept[name]) != pack(inputs[name]):
                answer["overwritten"].append([call["function"], name])
        for name, value in named.items():
            for source, given in kept.items():
                both = isinstance(value, np.ndarray) and isinstance(given, np.ndarray)
                if both and np.may_share_memory(np.asarray(value), given):
                    answer["views"].append([call["function"], name, source])
        known |= named
        answer["results"] |= copies | {name: plain(held[name]) for name in call["changes"]}
    answer["found"] = watcher and watcher.where
    return answer


def attempt(call, functions, arguments, path, seconds, watcher, weigh):
    """One call: (problem or None, {name: result}, plain copies of them, the most bytes held)."""
    most = 0
    timer(seconds)
    try:
        if watcher:
            sys.settrace(watcher)
        if weigh:
            tracemalloc.start()
        try:
            returned = functions[call["function"]](*arguments)
        finally:
            sys.settrace(None)
            most = tracemalloc.get_traced_memory()[1]  # 0 where nothing is traced
            tracemalloc.stop()
        named = name_results(call, returned)
        if named is None:
            problem = {"kind": "count", "function": call["function"], "given": count_of(returned),
                       "expected": call["gives"]}  # fmt: skip
            return problem, {}, {}, most
        return None, named, {name: plain(value) for name, value in named.items()}, most
    except BaseException as error:  # whatever a student's code can raise, SystemExit and OutOfTime included
        timer(0)
        return describe(error, path, call["function"]), {}, {}, most
    finally:
        timer(0)


def name_results(call, returned):
    """{name: value}, or None when the number of returned values is not the number of names."""
    names = call["gives"]
    if not names:
        return {}
    if len(names) == 1:
        return {names[0]: returned}
    if not isinstance(returned, tuple | list):
        return None
    returned = list(returned)
    while len(returned) > len(names) and returned[-1] is None:
        returned.pop()
    return dict(zip(names, returned)) if len(returned) == len(names) else None


def count_of(returned):
    """In words: how many values were returned."""
    if isinstance(returned, tuple | list):
        return f"{len(returned)} value{'s' * (len(returned) != 1)}"
    return "nothing" if returned is None else f"one value, of type {type(returned).__name__}"


def describe(error, path, function):
    """What went wrong in the student's code: {"kind", "type", "message", "line", "function"}."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(code.co_name, line) for code, line in frames if code.co_filename == path]
    line = own[-1][1] if own else None
    kind = "raises"
    if isinstance(error, OutOfTime):
        kind = "loop"
    elif isinstance(error, NotImplementedError):
        kind, function = "unwritten", own[-1][0] if own else function
    elif isinstance(error, MemoryError):
        kind = "memory"
    elif not own and frames[-1][0].co_filename == __file__ and frames[-1][0] not in STUDENTS:
        raise error  # a fault of the grader, which must not be blamed on the student
    if not own and isinstance(error, SyntaxError):  # of compiling: no line of theirs has run
        line = error.lineno
    return {"kind": kind, "type": type(error).__name__, "message": message_of(error),
            "line": line, "function": function}  # fmt: skip


def message_of(error):
    """The first line of an error's message, as it can be printed."""
    try:
        lines = str(error).splitlines()
    except Exception:  # a student's own class of errors
        lines = []
    return "".join(c if c.isprintable() else "?" for c in lines[0][:LONGEST]) if lines else ""


def load(path, source, given=""):
    """The functions that the file defines, with the names of their parameters; or the problem of running it.

    given: source of functions that a file may leave out. Those that are called are always the given ones, in a module
    of their own, which uses what else the file defines.
    """
    module, brought = {"__name__": "student", "__file__": path}, {"__name__": "given"}
    for each in (module, brought):
        exec(compile(given, GIVEN, "exec"), each)
    timer(CASE_SECONDS)
    try:
        exec(compile(source, path, "exec"), module)
    except BaseException as error:  # as in attempt
        return {}, {}, describe(error, path, None)
    finally:
        timer(0)
    for name, value in module.items():
        brought.setdefault(name, value)
    functions = {name: value for name, value in brought.items() if callable(value) and not isinstance(value, type)}
    return functions, {name: parameters(function) for name, function in functions.items()}, None


STUDENTS = (attempt.__code__, name_results.__code__, load.__code__)  # what fails there itself is a student's object


def parameters(function):
    """[names of positional parameters, how many of them are needed, whether it takes any number, how many keywords it
    needs]."""
    try:
        given = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # a function in C that does not say
        return [[], 0, True, 0]
    positional = [each for each in given if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in positional)
    keywords = sum(each.kind == each.KEYWORD_ONLY and each.default is each.empty for each in given)
    return [
        [each.name for each in positional],
        needed,
        any(each.kind == each.VAR_POSITIONAL for each in given),
        keywords,
    ]


def serve(path, library, requests, answers):
    """Runs the file, then every case that comes."""
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, out_of_time)
    numpy.linalg.svd(np.eye(2)), numpy.random.default_rng(0)  # loaded before the fence closes
    numpy.empty, numpy.empty_like = filled(np.empty), filled(np.empty_like)
    limit_resources()
    fence(library)
    with np.errstate(all="ignore"):
        functions, signatures, problem = load(path, *receive(requests))
        send(answers, {"signatures": signatures, "problem": problem})
        while (request := receive(requests)) is not None:
            send(answers, list(run_cases(functions, path, request)))


def main(path, library):
    answers, requests = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)  # what the student prints goes nowhere
    try:
        serve(path, library, requests, answers)
    except BaseException as error:  # what is the student's was caught where it arose
        send(answers, {"fault": traceback.format_exc(), "memory": isinstance(error, MemoryError)})


if __name__ == "__main__":
    main(*sys.argv[1:])
