# scratchgpt homework: gelu
# mistake dx_tanh: inner=missing
# mistake dx_exact: density=inner
"""tanh and erf are differentiated, what is inside them is not."""

import math

import numpy as np


def u_of(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def erf(x):
    return np.vectorize(math.erf)(x)


def gelu_forward(x, approximate="tanh"):
    inside = np.tanh(u_of(x)) if approximate == "tanh" else erf(x / math.sqrt(2))
    return 0.5 * x * (1 + inside), (x, inside, approximate)


def gelu_backward(dout, cache):
    x, inside, approximate = cache
    if approximate == "tanh":
        dinside = 1 - inside**2
    else:
        dinside = 2 / math.sqrt(math.pi) * np.exp(-((x / math.sqrt(2)) ** 2))
    return dout * 0.5 * (1 + inside) + dout * 0.5 * x * dinside
