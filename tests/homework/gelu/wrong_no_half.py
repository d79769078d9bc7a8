# scratchgpt homework: gelu
# mistake out_tanh: whole:2
# mistake dx_tanh: Phi(x):2
# mistake dx_exact: density=no norm
"""The 0.5 in front is gone in forward and in one term of backward; the density is not normalised."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate != "tanh":
        return x * np.vectorize(lambda v: 0.5 + 0.5 * math.erf(v / math.sqrt(2)))(x), (x, approximate)
    out = x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))
    return out, (x, approximate)


def gelu_backward(dout, cache):
    x, approximate = cache
    if approximate != "tanh":
        cdf = np.vectorize(lambda v: 0.5 + 0.5 * math.erf(v / math.sqrt(2)))(x)
        return dout * (cdf + x * np.exp(-x * x / 2))
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)
    du = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)
    return dout * ((1 + np.tanh(u)) + 0.5 * x * du / np.cosh(u) ** 2)
