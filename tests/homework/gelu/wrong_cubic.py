# scratchgpt homework: gelu
# mistake out_tanh: u=0.44715
# mistake dx_tanh: cached=0.44715
# mistake dx_exact: density=no root
"""A digit is lost in forward alone; the density is divided by 2 pi."""

import math

import numpy as np


def normal_cdf(x):
    return np.vectorize(lambda value: math.erfc(-value / 2**0.5) / 2, otypes=[float])(x)


def gelu_forward(x, approximate="tanh"):
    if approximate == "none":
        return x * normal_cdf(x), (x, None)
    t = np.tanh((2 / math.pi) ** 0.5 * (x + 0.44715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def gelu_backward(dout, cache):
    x, t = cache
    if t is None:
        return dout * (normal_cdf(x) + x * np.exp(-(x**2) / 2) / (2 * math.pi))
    du = (2 / math.pi) ** 0.5 * (1 + 3 * 0.044715 * x**2)
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)
