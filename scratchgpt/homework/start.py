"""The file a student fills in: the exercise's functions cut out of the library, with what stays around them.

An exercise's `cut` marks the regions: the body of each of those functions, behind its docstring. What the bodies need
of their module (constants, small functions) comes along, so that a body pasted back is the whole solution.
"""

import ast
import inspect
import math
import sys
import textwrap
import types

from scratchgpt.backend import array_module
from scratchgpt.errors import InputError

RULES = """Inputs stay as they are unless this says otherwise, and results are no views of them. Import NumPy, math and
the like.

Check it with: scratchgpt homework check FILE"""
ARRAY_MODULE = '''def array_module(x):
    """In the library: NumPy, or CuPy when x lives on a GPU."""
    return np
'''


def starter(exercise, label, keep_forward=False):
    """The text of the file. label: "layer_norm" or "rms_norm/gemma"; keep_forward: it is given."""
    kept = [function for function in exercise.cut if keep_forward and function.__name__.endswith("_forward")]
    if keep_forward and (not kept or "/" in label):
        raise InputError(f"{label} has no forward of the library's to keep; leave out --keep-forward")
    imports, parts = surroundings(exercise, exercise.given if is_adapter(exercise) else exercise.given + exercise.cut)
    parts += map(source_of, kept)
    if parts:
        parts.insert(0, "# ---- given: use it or leave it; the check has its own")
        parts.append("# ---- yours")
    parts += [cut(function) for function in exercise.cut if function not in kept]
    head = [f"# scratchgpt homework: {label}", f'"""{exercise.title}\n\n{exercise.task.strip()}\n\n{RULES}\n"""']
    return "\n\n".join(head) + "\n\n" + module(imports, parts)


def given_source(exercise):
    """The functions that the file brings along whole, as a module of their own: a file without them is graded too."""
    return module(*surroundings(exercise, exercise.given))


def module(imports, parts):
    """The text of a module: imports, then the parts."""
    standard = "\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line)))
    head = [standard, "import numpy as np"] if standard else ["import numpy as np"]
    return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join(part.strip() for part in parts) + "\n"


def surroundings(exercise, roots):
    """The imports, and the source of all of the library's that these functions use and the student does not write:
    constants first, then functions."""
    own = {function.__name__ for function in exercise.cut}
    imports, constants, functions, waiting = set(), {}, {}, list(roots)
    while waiting:
        function = waiting.pop()
        if function.__name__ not in own:
            functions[function.__name__] = function
        for name, value in names_used(function).items():
            if isinstance(value, int | float | str | tuple):
                constants[name] = f"{name} = {value!r}"
            elif value is math:
                imports.add("import math")
            elif isinstance(value, types.ModuleType) or name in own | functions.keys():
                continue
            elif not value.__module__.startswith("scratchgpt."):
                imports.add(f"from {value.__module__} import {name}")
            elif isinstance(value, type) and issubclass(value, Exception):
                constants[name] = f"class {name}({value.__mro__[1].__name__}):\n    pass"
            else:
                waiting.append(value)
    parts = [*constants.values()]
    if functions.pop(array_module.__name__, None):
        parts.append(ARRAY_MODULE)
    return imports, parts + [source_of(function) for function in functions.values()]


def is_adapter(exercise):
    """Whether functions were made for a variant, around the library's: what they use would give their bodies away."""
    return any(function.__module__.startswith("scratchgpt.homework.") for function in exercise.cut)


def names_used(function):
    """{name: value} of the globals that a function or class uses, nested functions included, in order."""
    known = vars(sys.modules[function.__module__])
    tree = [*ast.walk(ast.parse(source_of(function)))]
    nodes = [node for node in tree if isinstance(node, ast.Name)]
    own = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in tree if isinstance(node, ast.arg)}
    return {node.id: known[node.id] for node in nodes if node.id in known.keys() - own}


def source_of(function):
    return textwrap.dedent(inspect.getsource(function))


def cut(function):
    """The function with its signature and docstring, and a gap where its body was."""
    source = source_of(function)
    node = ast.parse(source).body[0]
    documented = ast.get_docstring(node) is not None
    last = node.body[0].end_lineno if documented else node.body[0].lineno - 1
    kept = "\n".join(source.splitlines()[:last])
    return f'{kept}\n    raise NotImplementedError("your turn")\n'


def body_of(function):
    """The lines that `cut` leaves out."""
    source = source_of(function)
    node = ast.parse(source).body[0]
    first = node.body[0].end_lineno if ast.get_docstring(node) is not None else node.body[0].lineno - 1
    return "\n".join(source.splitlines()[first:])
