"""Checks a person runs on their own code: a backward against its forward, a model against PyTorch's.

>>> from scratchgpt.check import gradient
>>> print(gradient(layer_norm_forward, layer_norm_backward, (2, 3, 5), (5,), (5,)))     # doctest: +SKIP
"""

from importlib import import_module

# name -> the module that defines it; imported on first use: `compare` needs PyTorch, the others do not
_HOME = {"assert_gradients": "pair", "compare": "lockstep", "gradient": "pair"}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'scratchgpt.check' has no attribute {name!r}")
    return getattr(import_module(f"scratchgpt.check.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
