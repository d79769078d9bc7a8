# scratchgpt homework: gelu
# mistake out_exact: front=missing
# mistake dx_tanh: x=missing
# mistake dx_exact: x=missing
"""The factor x is forgotten: in the exact forward, and before the derivative of Phi."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        return x * (0.5 * (1 + t)), (x, 0.5 * (1 + t), approximate)
    cdf = np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2
    return cdf, (x, cdf, approximate)


def gelu_backward(dout, cache):
    x, phi, approximate = cache
    if approximate == "tanh":
        density = 2 * phi * (1 - phi) * math.sqrt(2 / math.pi) * (1 + 0.134145 * x**2)
    else:
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dout * (phi + density)
