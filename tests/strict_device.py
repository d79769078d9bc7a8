"""A device that is not there: NumPy arrays behind a wrapper that is stricter than CuPy, to run CuPy code with no GPU.

Use it where an array module goes: ``GPT(config, xp=strict_device)``. It computes with NumPy, bit for bit, and refuses
what would fail, be slow or lose precision on a GPU:

- MixedArrays: a device array meets a host array (CuPy: "Unsupported type <class 'numpy.ndarray'>"), or turns into one
  implicitly. Crossing is explicit: xp.asarray there, x.get() or xp.asnumpy(x) back.
- HiddenSync: something that must wait for the device's numbers: bool(x), float(x), x.item(), iteration, indexing with
  a boolean mask, nonzero.
- Promotion: a float64 result from arrays none of which is float64.

`recording()` lists the calls made, so that a test can hold them against CuPy's signatures.
"""

import contextlib
import operator

import numpy as np


class MixedArrays(TypeError):
    """A host array where a device array belongs."""


class HiddenSync(RuntimeError):
    """The host would have to wait for the device."""


class Promotion(TypeError):
    """float64 out of float32 or integers, without being asked for."""


# Not offered: the shape of the result depends on the values, so the host must wait.
SYNCHRONISING = frozenset({"argwhere", "bincount", "extract", "flatnonzero", "nonzero", "unique"})
# The value itself, on the host.
TO_HOST = frozenset({"item", "tolist", "tobytes", "tofile", "dump", "dumps"})
NOT_IN_CUPY = frozenset({"ctypes", "getfield", "newbyteorder", "resize", "setflags", "to_device"})
VIEWS = frozenset({"T", "mT", "real", "imag"})
ON_HOST = frozenset({"dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides"})
FROM_HOST = frozenset({"array", "asarray"})

_calls = None


@contextlib.contextmanager
def recording():
    """The calls made inside the with block: a set of (name, number of positional arguments, names of the others),
    name such as "exp", "add.at" or "ndarray.sum"."""
    global _calls
    before, _calls = _calls, set()
    try:
        yield _calls
    finally:
        _calls = before


class ndarray:
    """A device array. `_host` is the NumPy array that plays the device's memory."""

    __slots__ = ("_host",)
    __array_ufunc__ = None  # NumPy's functions refuse these, and its operators leave them to ours
    __hash__ = None

    def __array_function__(self, function, *args):
        raise MixedArrays(f"numpy.{function.__name__} of a device array; take the function from xp")

    def __init__(self, host):
        self._host = host

    def __getattr__(self, name):
        if name in ON_HOST:
            return getattr(self._host, name)
        if name in TO_HOST:
            raise HiddenSync(f"ndarray.{name} waits for the device; use x.get() where that is meant")
        if name in SYNCHRONISING:
            raise HiddenSync(f"ndarray.{name} waits for the device: its shape depends on the values")
        if name in NOT_IN_CUPY or name.startswith("_"):
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        value = getattr(self._host, name)
        if name in VIEWS:
            return ndarray(value)
        if not callable(value):
            raise AttributeError(f"no use for ndarray.{name} on a device was foreseen here")

        def method(*args, **kwargs):
            return call(f"ndarray.{name}", value, args, kwargs, among=(self,))

        return method

    def get(self):
        """A copy on the host."""
        return self._host.copy()

    def __array__(self, *args, **kwargs):
        raise MixedArrays("implicit conversion to a NumPy array; use x.get()")

    def __getitem__(self, index):
        return wrap(self._host[on_device(index)])

    def __setitem__(self, index, value):
        self._host[on_device(index, masks=True)] = not_promoted(self, operand(value))

    def __len__(self):
        return len(self._host)

    def __repr__(self):
        return f"strict_device.{self._host!r}"


def _waits(name):
    def method(self, *args):
        raise HiddenSync(f"{name} of a device array waits for the device; use x.get() where that is meant")

    return method


def _operator(function):
    return lambda a, b: call(None, function, (a, checked(b)), {})


def _reflected(function):
    return lambda a, b: call(None, function, (checked(b), a), {})


def _in_place(function):
    def update(a, b):
        function(a._host, not_promoted(a, operand(b)))
        return a

    return update


def _unary(function):
    return lambda a: call(None, function, (a,), {})


for _name in ("bool", "float", "int", "complex", "index", "iter", "contains"):
    setattr(ndarray, f"__{_name}__", _waits(_name))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _unary(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "rshift", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _reflected(_function))
    setattr(ndarray, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))


class Function:
    """A function or ufunc of the module; a ufunc's methods too (xp.add.at)."""

    def __init__(self, name, function):
        self._name, self._function = name, function

    def __call__(self, *args, **kwargs):
        return call(self._name, self._function, args, kwargs)

    def __getattr__(self, method):
        value = getattr(self._function, method)
        return Function(f"{self._name}.{method}", value) if callable(value) else value


def __getattr__(name):
    """strict_device.NAME for every name of NumPy that is a function, a type or a constant."""
    if name in SYNCHRONISING:
        raise HiddenSync(f"{name} waits for the device: the shape of its result depends on the values")
    value = getattr(np, name)
    if isinstance(value, type) or not callable(value):
        if isinstance(value, type(np)):
            raise AttributeError(f"{name}: draw random numbers and factor matrices on the host, then xp.asarray them")
        return value
    return Function(name, value)


def asnumpy(x):
    """A copy on the host."""
    return x.get()


def call(name, function, args, kwargs, among=()):
    """function of the NumPy arrays behind args and kwargs, wrapped again and checked."""
    if _calls is not None and name is not None:
        _calls.add((name, len(args), tuple(sorted(kwargs))))
    if name == "where" and len(args) == 1:
        raise HiddenSync("where with a condition alone waits for the device")
    if name in FROM_HOST and not isinstance(args[0], ndarray):
        return ndarray(np.array(*args, **kwargs))
    if name is not None and name.endswith(".at"):
        not_promoted(args[0], operand(args[-1]))
    result = wrap(function(*unwrap(args), **unwrap(kwargs)))
    if name != "ndarray.astype" and not asks_for_dtype(args, kwargs):
        refuse_promotion(name or function.__name__, result, [*among, *args, *kwargs.values()])
    return result


def asks_for_dtype(args, kwargs):
    return "dtype" in kwargs or any(isinstance(a, type | np.dtype) for a in args)


def refuse_promotion(name, result, inputs):
    if any(map(is_wide, arrays_in(result))) and not any(map(is_wide, arrays_in(inputs))):
        raise Promotion(f"{name} gave float64 from arrays that are not")


def arrays_in(value):
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if isinstance(value, ndarray) else []


def is_wide(array):
    return array.dtype.name in ("float64", "complex128")


def not_promoted(target, value):
    """value, which is about to be written into target: not of a wider floating type."""
    if isinstance(value, np.ndarray | np.generic) and is_wide(value) and not is_wide(target):
        raise Promotion(f"{value.dtype} is computed and then stored as {target.dtype}")
    return value


def wrap(value):
    """NumPy's result as the device gives it: reductions to 0-d arrays, not scalars."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(map(wrap, value))
    return value


def unwrap(value):
    """The NumPy arrays behind device arrays, also in tuples, lists and dicts; refuses host arrays."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise MixedArrays("a host array among device arrays; xp.asarray copies it to the device")
    if isinstance(value, dict):
        return {name: unwrap(part) for name, part in value.items()}
    return type(value)(map(unwrap, value)) if isinstance(value, tuple | list) else value


def checked(value):
    """An operand of an operator: a device array or a scalar."""
    if isinstance(value, np.ndarray | tuple | list):
        raise MixedArrays(f"a {type(value).__name__} of the host meets a device array; xp.asarray copies it there")
    return value


def operand(value):
    return unwrap(checked(value))


def on_device(index, masks=False):
    """An index with its device arrays unwrapped. Reading through a boolean mask waits for the number of its trues."""
    for part in index if isinstance(index, tuple) else (index,):
        if not masks and isinstance(part, ndarray) and part.dtype.kind == "b":
            raise HiddenSync("indexing with a boolean mask waits for the device; use xp.where")
        if isinstance(part, list):
            raise MixedArrays("a list as an index is a host array; xp.asarray copies it to the device")
    return unwrap(index)
