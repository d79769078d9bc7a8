"""Snapshots of values, as a page shows them. Each distinct value is stored once, and known by its number.

A value is a JSON object: "t" its type in words, and one of
    "s" text
    "v" numbers, as whole numbers of 10^-"d" (times 10^"e" when given), in the shape "shape"; "n" says what was cut
    "i" parts [label, number of the part's own value]; "n" says how many more there are
    "h" HTML, from a value's own _repr_html_
"""

import math
import re
import types
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from itertools import islice
from types import SimpleNamespace

import numpy as np

from scratchgpt.lesson.show import decimals_for, short_number

HIDDEN = (
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.GenericAlias, type,
)  # fmt: skip
MOST_ROWS, MOST_COLUMNS, MOST_NUMBERS = 16, 16, 384  # of an array
MOST_PARTS, MOST_LETTERS, DEEPEST = 24, 300, 3  # of a container; of a text; containers within containers


class Pool:
    """Values without repetition: put(value) -> number, values[number] -> JSON object. html: display objects are kept
    as HTML; otherwise as text."""

    def __init__(self, html=True):
        self.values, self.numbers, self.html = [], {}, html

    def put(self, value):
        return self._put(value, DEEPEST)

    def _put(self, value, depth):
        if isinstance(value, np.ndarray):
            return self._array(value)
        if hasattr(value, "_repr_html_") and not self.html:
            return self._store(("text", type(value).__name__, repr(value)), lambda key: {"t": key[1], "s": key[2]})
        if hasattr(value, "_repr_html_"):
            return self._store(
                ("html", type(value).__name__, value._repr_html_()), lambda key: {"t": key[1], "h": key[2]}
            )
        parts = parts_of(value) if depth else None
        if parts is not None:
            return self._parts(value, *parts, depth)
        return self._store(("text", kind_of(value), text_of(value)), lambda key: {"t": key[1], "s": key[2]})

    def _store(self, key, make):
        if key not in self.numbers:
            self.numbers[key] = len(self.values)
            self.values.append(make(key))
        return self.numbers[key]

    def _parts(self, value, parts, total, depth):
        shown = tuple((label, self._put(part, depth - 1)) for label, part in parts)
        rest = f"and {total - len(shown):,} more of {total:,}" if total > len(shown) else ""
        return self._store(
            ("parts", kind_of(value), shown, rest),
            lambda key: {"t": key[1], "i": [list(each) for each in shown]} | ({"n": rest} if rest else {}),
        )

    def _array(self, array):
        shown, cut = cut_array(array)
        kind = f"{array.dtype} ({', '.join(map(str, array.shape))})" if array.ndim else str(array.dtype)
        if array.dtype.kind not in "fiub":
            text = without_addresses(np.array2string(shown, threshold=MOST_NUMBERS))
            return self._store(
                ("text", kind, text, cut), lambda key: {"t": kind, "s": text} | ({"n": cut} if cut else {})
            )
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
    """(the part of an array that is shown, what was cut in words or ""): its first rows, columns and matrices."""
    if array.ndim == 1:
        sizes = [min(array.size, 4 * MOST_COLUMNS)]
    else:
        sizes = [min(size, MOST_ROWS) for size in array.shape[:-1]] + [
            min(size, MOST_COLUMNS) for size in array.shape[-1:]
        ]
    for axis in range(array.ndim - 2):  # the outermost first
        sizes[axis] = min(sizes[axis], max(1, MOST_NUMBERS // math.prod(sizes[axis + 1 :])))
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


def parts_of(value):
    """([(label, part)] of the first parts, how many there are), or None for a value that is shown as one text."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value)), len(value)
    if is_dataclass(value):
        shown = [(each.name, getattr(value, each.name)) for each in fields(value) if each.repr]
        return shown, len(shown)
    if isinstance(value, SimpleNamespace):
        return list(vars(value).items()), len(vars(value))
    if isinstance(value, Mapping) and value:
        items = value.most_common(MOST_PARTS) if isinstance(value, Counter) else islice(value.items(), MOST_PARTS)
        return [(text_of(key), part) for key, part in items], len(value)
    if isinstance(value, (list, tuple)) and not all(map(is_plain, value[:MOST_PARTS])):
        return [(f"[{i}]", part) for i, part in enumerate(value[:MOST_PARTS])], len(value)
    return None


def is_plain(value):
    """Whether a value is shown in a line: a number, a text, a short tuple of those."""
    if isinstance(value, (list, tuple)):
        return not hasattr(value, "_fields") and len(value) <= 4 and all(map(is_plain, value))
    return value is None or isinstance(value, (str, bytes, int, float, complex, np.generic))


def kind_of(value):
    kind = type(value).__name__
    return f"{kind} of {len(value):,}" if isinstance(value, (list, tuple, Set, Mapping)) else kind


def text_of(value):
    """One value as text: the same in every process, and no longer than a reader reads."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, np.generic) and value.dtype.kind in "iuf":
        value = value.item()
    if isinstance(value, int):
        return str(value).replace("-", "−")
    if isinstance(value, float):
        text = f"{value:.7g}"
        return (text + ".0" if text.lstrip("-").isdecimal() else text).replace("-", "−")
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, (list, tuple, Set)):
        return sequence_text(value)
    if type(value).__repr__ is object.__repr__:
        return f"a {type(value).__name__}"
    text = without_addresses(repr(value))
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} … {len(text) - MOST_LETTERS:,} more letters"


def without_addresses(text):
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def sequence_text(value):
    """sequence_text([1, 2]) -> "[1, 2]"; a long one says how many are not shown."""
    shown, length = [], 0
    for text in map(text_of, sorted(value, key=text_of) if isinstance(value, Set) else value):
        length += len(text) + 2
        if shown and length > MOST_LETTERS:
            break
        shown.append(text)
    left, right = {"list": "[]", "tuple": "()"}.get(type(value).__name__, "{}")
    rest = len(value) - len(shown)
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return left + ", ".join(shown) + comma + right + (f" … and {rest:,} more of {len(value):,}" if rest else "")
