# scratchgpt homework: gelu
"""Plain Python floats: a value and a slope for each element."""

from math import cosh, erfc, exp, pi, sqrt, tanh

import numpy as np


def value_and_slope(x, approximate):
    if approximate == "none":
        phi = erfc(-x / sqrt(2)) / 2
        return x * phi, phi + x * exp(-x * x / 2) / sqrt(2 * pi)
    u = sqrt(2 / pi) * x * (1 + 0.044715 * x * x)
    phi = (1 + tanh(u)) / 2
    return x * phi, phi + x / 2 / cosh(u) ** 2 * sqrt(2 / pi) * (1 + 0.134145 * x * x)


def gelu_forward(x, approximate="tanh"):
    out, slope = np.empty_like(x), np.empty_like(x)
    for i in np.ndindex(x.shape):
        out[i], slope[i] = value_and_slope(float(x[i]), approximate)
    return out, slope


def gelu_backward(dout, slope):
    return dout * slope
