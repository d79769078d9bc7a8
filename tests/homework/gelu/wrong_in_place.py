# scratchgpt homework: gelu
# mistake *: overwrites
"""GELU in place: fast, and x is gone."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    kept = x.copy()
    if approximate == "tanh":
        phi = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        density = 2 * phi * (1 - phi) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    else:
        phi = np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    x *= phi
    return x.copy(), phi + kept * density


def gelu_backward(dout, slope):
    return slope * dout
