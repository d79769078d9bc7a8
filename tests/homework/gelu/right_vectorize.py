# scratchgpt homework: gelu
"""erf from math, one number at a time."""

import math

import numpy as np

erf = np.vectorize(math.erf)


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        return 0.5 * x * (1 + t), (approximate, x, t)
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    return x * cdf, (approximate, x, cdf)


def gelu_backward(dout, cache):
    approximate, x, kept = cache
    if approximate == "tanh":
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return dout * (0.5 * (1 + kept) + 0.5 * x * (1 - kept**2) * du)
    pdf = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dout * (kept + x * pdf)
