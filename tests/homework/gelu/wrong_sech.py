# scratchgpt homework: gelu
# mistake dx_tanh: slope=plus
# mistake dx_exact: density=plus
"""Two signs: sech^2 = 1 + tanh^2, and exp(x^2 / 2)."""

import math

import numpy as np


def cdf(x):
    return np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.flat]).reshape(x.shape)


def gelu_forward(x, approximate="tanh"):
    if approximate == "none":
        return x * cdf(x), (x, None)
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * np.power(x, 3)))
    return x / 2 * (1 + t), (x, t)


def gelu_backward(dout, cache):
    x, t = cache
    if t is None:
        return dout * (cdf(x) + x * np.exp(x**2 / 2) / np.sqrt(2 * np.pi))
    sech2 = 1 + t**2
    return dout * (0.5 * (1 + t) + 0.5 * x * sech2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2))
