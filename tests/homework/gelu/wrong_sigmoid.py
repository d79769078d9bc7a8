# scratchgpt homework: gelu
# mistake out_tanh: u=sigmoid
# mistake dx_tanh: u=sigmoid
"""The paper's quick approximation, right in itself, where the tanh formula is asked for."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        s = 1 / (1 + np.exp(-1.702 * x))
        return x * s, (x, s, 1.702 * s * (1 - s))
    s = np.vectorize(math.erfc)(-x * 2**-0.5) / 2
    return x * s, (x, s, np.exp(-x * x / 2) * (2 * math.pi) ** -0.5)


def gelu_backward(dout, cache):
    x, s, ds = cache
    return dout * (s + x * ds)
