"""With no GPU: every NumPy name that the library takes from an array module exists in CuPy and takes those arguments.

Two sources of calls: the text of the library (`xp.NAME`, `self.xp.NAME`, `array_module(x).NAME`) and three training
steps on the strict device double, which sees the arrays' methods too.
"""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import strict_device
import test_bert
import test_heads
import test_llama
import test_t5
from test_strict_device import CONFIGS, train

import scratchgpt

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'scratchgpt[cuda12]'")
PACKAGE = Path(scratchgpt.__file__).parent
UFUNC_KEYWORDS = {"out", "dtype", "casting", "where"}
# A parameter in the first line of a Cython method's docstring: "Py_ssize_t axis1", "dtype=None", "*shape"
PARAMETER = re.compile(r"(?:\w+ )?(\*{0,2})(\w+)\s*(=)?")


def is_array_module(node):
    """Does this expression stand for an array module: xp, self.xp, array_module(x)?"""
    match node:
        case ast.Name(id="xp") | ast.Attribute(attr="xp") | ast.Call(func=ast.Name(id="array_module")):
            return True
    return False


def module_name(node):
    """ "add.at" for the expression xp.add.at, None for an expression that does not start at an array module."""
    if not isinstance(node, ast.Attribute):
        return None
    if is_array_module(node.value):
        return node.attr
    outer = module_name(node.value)
    return None if outer is None else f"{outer}.{node.attr}"


def names_and_calls_in(source):
    """(every name taken from an array module, every call as strict_device.recording lists it)."""
    names, calls = set(), set()
    for node in ast.walk(ast.parse(source)):
        if (name := module_name(node)) is not None:
            names.add(name)
        if isinstance(node, ast.Call) and (name := module_name(node.func)) is not None:
            starred = any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords)
            if not starred:
                calls.add((name, len(node.args), tuple(sorted(k.arg for k in node.keywords))))
    return names, calls


def find(name):
    """cupy's object of a dotted name, "ndarray.sum" among them; None if there is none."""
    target = cupy
    for part in name.split("."):
        target = getattr(target, part, None)
    return target


def signature_of(function):
    """inspect's signature, or for compiled methods the one in the first line of the docstring."""
    try:
        return inspect.signature(function)
    except ValueError:
        text = re.search(r"\((.*?)\)(?: ->|$)", function.__doc__.splitlines()[0]).group(1)
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for stars, name, default in (PARAMETER.match(part.strip()).groups() for part in text.split(",") if part.strip()):
        if stars:
            parameters.append(inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            parameters.append(inspect.Parameter(name, kind, default=None if default else inspect.Parameter.empty))
    return inspect.Signature(parameters)


def accepts(name, function, n_positional, keywords):
    """Does cupy's function take that many positional arguments and these keywords?"""
    if isinstance(function, cupy.ufunc):
        return set(keywords) <= UFUNC_KEYWORDS and function.nin <= n_positional <= function.nargs
    if name.endswith(".at"):
        return n_positional in (2, 3) and not keywords  # a compiled method without a signature
    if isinstance(function, type):
        return True
    try:
        signature_of(function).bind(*[None] * (n_positional + name.startswith("ndarray.")), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def refused(calls):
    """The calls that CuPy would not take."""
    found = [(call, find(call[0])) for call in sorted(calls)]
    return [call for call, function in found if function is None or not accepts(call[0], function, *call[1:])]


def library():
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))


def test_every_name_taken_from_an_array_module_exists_in_cupy():
    names, calls = names_and_calls_in(library())
    assert len(names) > 20  # the scan does find them
    assert [name for name in sorted(names) if find(name) is None] == []
    assert refused(calls) == []


@pytest.mark.parametrize("on_any_device", ["reference", "flash"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_call_of_three_training_steps_binds_to_cupy_s_signatures(config, on_any_device):
    with strict_device.recording() as calls:
        train(strict_device, config, "float32", on_any_device)
    assert len(calls) > 20
    assert refused(calls) == []


def test_every_call_of_the_other_families_and_a_heads_training_steps_binds_to_cupy_s_signatures():
    with strict_device.recording() as calls:
        for config in test_bert.CONFIGS.values():
            test_bert.train(strict_device, config)
        for case in test_heads.CASES:
            test_heads.train(strict_device, *case)
        for config in test_t5.CONFIGS.values():
            test_t5.train(strict_device, config, "float32")
        for config in test_llama.CONFIGS.values():
            test_llama.train(strict_device, config, "float32")
    assert len(calls) > 20
    assert refused(calls) == []


def test_the_double_offers_no_attribute_that_cupy_s_arrays_lack():
    for name in strict_device.VIEWS | strict_device.ON_HOST | strict_device.TO_HOST:
        assert hasattr(cupy.ndarray, name) or name in {"mT", "tobytes", "itemsize"}


WRONG = {
    "a name that is not there": "xp.frobnicate(x)",
    "a name of NumPy alone": "self.xp.bincount_by_name(x)",
    "a method of a ufunc that is not there": "xp.add.frobnicate(x)",
    "a keyword that a function does not take": "xp.zeros_like(x, frobnicate=1)",
    "a keyword that a ufunc does not take": "array_module(x).exp(x, frobnicate=1)",
    "too many arguments": "xp.concatenate(a, b, c, d, e, f, g)",
    "too few arguments": "xp.take_along_axis(a)",
    "too few arguments of a ufunc": "xp.maximum(a)",
}


@pytest.mark.parametrize("source", WRONG.values(), ids=WRONG)
def test_the_scan_finds_what_cupy_would_refuse(source):
    _, calls = names_and_calls_in(source)
    assert len(calls) == 1 and refused(calls)


METHODS = {
    ("ndarray.sum", 1, ("keepdims",)): True,
    ("ndarray.sum", 1, ("initial",)): False,
    ("ndarray.max", 1, ("keepdims",)): True,
    ("ndarray.max", 0, ("where",)): False,
    ("ndarray.reshape", 3, ()): True,
    ("ndarray.reshape", 2, ("order",)): True,
    ("ndarray.swapaxes", 2, ()): True,
    ("ndarray.swapaxes", 1, ()): False,
    ("ndarray.transpose", 4, ()): True,
    ("ndarray.astype", 1, ("copy",)): True,
    ("ndarray.fill", 1, ()): True,
    ("ndarray.frobnicate", 0, ()): False,
    ("add.at", 3, ()): True,
    ("add.at", 1, ()): False,
}


@pytest.mark.parametrize("call, accepted", METHODS.items())
def test_methods_are_held_against_cupy_s_documented_signatures(call, accepted):
    assert (refused([call]) == []) is accepted


def test_numpy_s_float_types_are_cupy_s():
    assert (cupy.float32, cupy.float64, cupy.uint32) == (np.float32, np.float64, np.uint32)
