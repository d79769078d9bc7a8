"""Snapshots of values, as a page shows them. Each distinct value is stored once, and known by its number.

A value is a JSON object: "t" its type in words, and one of
    "s" text
    "v" numbers, as whole numbers of 10^-"d" (times 10^"e" when given), in the shape "shape"; "n" says what was cut
    "i" items [label, number of the item's own value], "n" says how many more there are
    "h" HTML, from a value's own _repr_html_
"""

import re
import types
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from types import SimpleNamespace

import numpy as np

from scratchgpt.lesson.show import decimals_for, short_number

HIDDEN = (
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.GenericAlias, type,
)  # fmt: skip
MOST_ROWS, MOST_COLUMNS, MOST_NUMBERS = 16, 16, 384  # of an array
MOST_ITEMS, MOST_LETTERS, DEEPEST = 24, 300, 3  # of a container; of a text; containers within containers


class Pool:
    """Values without repetition: put(value) -> number, values[number] -> JSON object."""

    def __init__(self):
        self.values, self.numbers = [], {}

    def put(self, value):
        return self._put(value, DEEPEST)

    def _put(self, value, depth):
        if isinstance(value, np.ndarray):
            return self._array(value)
        if hasattr(value, "_repr_html_"):
            return self._store(("html", value._repr_html_()), lambda key: {"t": type(value).__name__, "h": key[1]})
        items = items_of(value) if depth else None
        if items is not None:
            return self._items(value, items, depth)
        return self._store(("text", kind_of(value), text_of(value)), lambda key: {"t": key[1], "s": key[2]})

    def _store(self, key, make):
        if key not in self.numbers:
            self.numbers[key] = len(self.values)
            self.values.append(make(key))
        return self.numbers[key]

    def _items(self, value, items, depth):
        shown = tuple((label, self._put(item, depth - 1)) for label, item in items[:MOST_ITEMS])
        kind = f"{kind_of(value)} of {len(items)}" if isinstance(value, (Mapping, Set, list, tuple)) else kind_of(value)
        rest = len(items) - len(shown)
        return self._store(
            ("items", kind, shown, rest),
            lambda key: {"t": kind, "i": [list(each) for each in shown]} | ({"n": f"and {rest} more"} if rest else {}),
        )

    def _array(self, array):
        shown, cut = cut_array(array)
        kind = f"{array.dtype} ({', '.join(map(str, array.shape))})" if array.ndim else str(array.dtype)
        if array.dtype.kind not in "fiub":
            text = np.array2string(shown, threshold=MOST_NUMBERS)
            return self._store(("text", kind, text + cut), lambda key: {"t": kind, "s": key[2]})
        if cut:
            cut += f"; all of it: {summary(array)}"
        key = ("array", kind, shown.shape, shown.tobytes(), cut)
        return self._store(key, lambda key: {"t": kind} | numbers_of(shown) | ({"n": cut} if cut else {}))


def numbers_of(array):
    """{"shape", "v", "d", "e"} of an array of numbers; 12.5 with d = 2 is 1250, and what is not finite a text."""
    exponent, decimals = decimals_for(array)
    if array.dtype.kind in "iub":
        exponent, decimals, numbers = 0, 0, [int(x) for x in array.reshape(-1).tolist()]
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (array.reshape(-1).astype(np.float64) / 10.0 ** (exponent - decimals)).round()
        numbers = [int(x) if np.isfinite(x) else str(x).replace("-", "−") for x in scaled.tolist()]
    more = {"e": exponent} if exponent else {}
    return {"shape": list(array.shape), "v": numbers, "d": decimals} | more


def cut_array(array):
    """(the part of an array that is shown, what was cut in words or ""): the first rows, columns and matrices."""
    sizes = list(array.shape)
    for axis in range(array.ndim):
        sizes[axis] = min(
            sizes[axis], MOST_ROWS if axis < array.ndim - 1 else MOST_COLUMNS * (4 if array.ndim == 1 else 1)
        )
    axis = 0
    while np.prod(sizes) > MOST_NUMBERS and axis < array.ndim - 1:  # the outer axes first
        inner = int(np.prod(sizes[axis + 1 :]))
        sizes[axis] = max(1, MOST_NUMBERS // inner)
        axis += 1
    if sizes == list(array.shape):
        return array, ""
    shown = array[tuple(slice(size) for size in sizes)]
    return shown, f"shown: the first {' × '.join(map(str, sizes))} of {' × '.join(map(str, array.shape))}"


def summary(array):
    """The range and mean of a whole array, of which a part is shown."""
    if array.size == 0 or array.dtype.kind == "b":
        return f"{int(array.sum())} true"
    mean = array.mean(dtype=np.float64)
    low, high, mean = (short_number(x) for x in (array.min(), array.max(), mean))
    return f"from {low} to {high}, mean {mean}"


def items_of(value):
    """[(label, item)] of a container that is shown item by item, or None for one that is shown as text."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value))
    if is_dataclass(value):
        return [(each.name, getattr(value, each.name)) for each in fields(value) if each.repr]
    if isinstance(value, SimpleNamespace):
        return [*vars(value).items()]
    if isinstance(value, Mapping) and value:
        return [(text_of(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)) and any(not is_plain(item) for item in value):
        return [(f"[{i}]", item) for i, item in enumerate(value)]
    return None


def is_plain(value):
    """Whether a value is shown in a line: a number, a text, a short tuple of those."""
    if isinstance(value, (list, tuple)):
        return not hasattr(value, "_fields") and len(value) <= 4 and all(map(is_plain, value))
    return value is None or isinstance(value, (str, bytes, int, float, complex, np.generic))


def kind_of(value):
    kind = type(value).__name__
    if isinstance(value, (list, tuple, Set, str, bytes)):
        return f"{kind} of {len(value)}" if not isinstance(value, (str, bytes)) else kind
    return kind


def text_of(value):
    """One value as text: the same in every process, and no longer than a reader reads."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        return str(value)
    if isinstance(value, (int, float, np.number)) and not isinstance(value, complex):
        return number_of(value)
    if isinstance(value, Mapping):
        return f"{len(value)} items" if value else "empty"
    if isinstance(value, (list, tuple, Set)):
        return sequence_text(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype} ({', '.join(map(str, value.shape))})"
    if type(value).__repr__ is object.__repr__:
        return f"a {type(value).__name__}"
    return shorten(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)))


def number_of(value):
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return str(value).replace("-", "−")
    return f"{value:.7g}".replace("-", "−") if np.isfinite(value) else str(value).replace("-", "−")


def sequence_text(value):
    texts = [text_of(item) for item in (sorted(value, key=text_of) if isinstance(value, Set) else value)]
    left, right = {"list": "[]", "tuple": "()"}.get(type(value).__name__, "{}")
    shown, length = [], 0
    for text in texts:
        length += len(text) + 2
        if length > MOST_LETTERS:
            break
        shown.append(text)
    rest = len(texts) - len(shown)
    return left + ", ".join(shown) + right + (f" … and {rest} more of {len(texts)}" if rest else "")


def shorten(text):
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} … {len(text) - MOST_LETTERS} more letters"
