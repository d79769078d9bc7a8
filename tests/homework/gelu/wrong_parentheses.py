# scratchgpt homework: gelu
# mistake out_tanh: u=outside
# mistake dx_tanh: u=outside + slope=no square
"""sqrt(2/pi) x + 0.044715 x^3, and a sech^2 that is not squared: two mistakes in one gradient."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "none":
        return np.array([[[v * (1 + math.erf(v / 2**0.5)) / 2 for v in row] for row in rows] for rows in x]), (x, 0)
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * x + 0.044715 * x**3)), (x, 1)


def gelu_backward(dout, cache):
    x, is_tanh = cache
    if not is_tanh:
        erf = np.vectorize(math.erf)(x / 2**0.5)
        return dout * ((1 + erf) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))
    tanh = np.tanh(math.sqrt(2 / math.pi) * x + 0.044715 * x**3)
    du = math.sqrt(2 / math.pi) + 3 * 0.044715 * x**2
    return dout * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh) * du)
