"""The file a student fills in: the exercise's functions cut out of the library, with what stays around them.

An exercise's `cut` marks the regions: the body of each of those functions, behind its docstring. What the bodies need
of their module (constants, small functions) comes along, so that a body pasted back is the whole solution.
"""

import ast
import inspect
import textwrap
import types

from scratchgpt.backend import array_module
from scratchgpt.errors import InputError

ARRAY_MODULE = '''def array_module(x):
    """In the library: NumPy, or CuPy when x lives on a GPU."""
    return np
'''


def starter(exercise, label, keep_forward=False):
    """The text of the file. label: "layer_norm" or "layer_norm/rms_norm"; keep_forward: it is given."""
    kept = [function for function in exercise.cut if keep_forward and function.__name__.endswith("_forward")]
    if keep_forward and (not kept or "/" in label):
        raise InputError(f"{label} has no forward of the library's to keep; leave out --keep-forward")
    parts = [*surroundings(exercise)]
    for function in exercise.cut:
        parts.append(source_of(function) if function in kept else cut(function))
    head = [
        f"# scratchgpt homework: {label}",
        f'"""{exercise.title}\n\n{exercise.task.strip()}\n\nCheck it with: scratchgpt homework check FILE\n"""',
        "import math\n\nimport numpy as np" if needs_math(parts) else "import numpy as np",
    ]
    return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join(part.strip() for part in parts) + "\n"


def needs_math(parts):
    return any("math." in part for part in parts)


def surroundings(exercise):
    """The source of everything of the library's that the file brings along: constants first, then functions."""
    own = {function.__name__ for function in exercise.cut}
    constants, functions, waiting = {}, {}, [*exercise.given]
    if not is_adapter(exercise):
        waiting += exercise.cut
    while waiting:
        function = waiting.pop()
        if function.__name__ not in own:
            functions[function.__name__] = function
        for name in names_used(function):
            value = function.__globals__.get(name)
            if isinstance(value, int | float | str | tuple) and name not in constants:
                constants[name] = f"{name} = {value!r}"
            elif isinstance(value, types.FunctionType) and name not in own | functions.keys():
                waiting.append(value)
            elif isinstance(value, type) and issubclass(value, Exception):
                constants[name] = f"class {name}({value.__mro__[1].__name__}):\n    pass"
    yield from constants.values()
    if array_module.__name__ in functions:
        del functions[array_module.__name__]
        yield ARRAY_MODULE
    yield from (source_of(function) for function in functions.values())


def is_adapter(exercise):
    """Whether the functions were made for a variant, around the library's: their bodies would give it away."""
    return exercise.cut[0].__module__.startswith("scratchgpt.homework.")


def names_used(function):
    """The global names that a function's body uses, nested functions included, in order."""
    found = [name for name in function.__code__.co_names if name in function.__globals__]
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return dict.fromkeys(
        found + [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in function.__globals__]
    )


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
