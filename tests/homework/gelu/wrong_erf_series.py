# scratchgpt homework: gelu
# mistake out_exact: unknown
# mistake dx_exact: unknown
"""An erf of one's own, five terms of its series: good near 0, wild beyond."""

import math

import numpy as np

K, C = math.sqrt(2 / math.pi), 0.044715


def erf(z):
    terms = [(-1) ** n * z ** (2 * n + 1) / (math.factorial(n) * (2 * n + 1)) for n in range(5)]
    return 2 / math.sqrt(math.pi) * sum(terms)


def gelu_forward(x, approximate="tanh"):
    t = np.tanh(K * (x + C * x**3)) if approximate == "tanh" else erf(x / math.sqrt(2))
    return 0.5 * x * (1 + t), (x, t, approximate)


def gelu_backward(dout, cache):
    x, t, approximate = cache
    if approximate == "tanh":
        dt = (1 - t**2) * K * (1 + 3 * C * x**2)
    else:
        dt = 2 * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dout * (0.5 * (1 + t) + 0.5 * x * dt)
