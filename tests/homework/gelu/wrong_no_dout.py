# scratchgpt homework: gelu
# mistake dx_tanh: dout=missing + inner=linear
# mistake dx_exact: dout=missing
"""The slope alone is returned, and du/dx is a constant."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        phi = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    else:
        phi = 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x * phi, (x, phi, approximate)


def gelu_backward(dout, cache):
    x, phi, approximate = cache
    if approximate == "tanh":
        slope = phi + x * 2 * phi * (1 - phi) * math.sqrt(2 / math.pi)
    else:
        slope = phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return slope
