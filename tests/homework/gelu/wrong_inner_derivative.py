# scratchgpt homework: gelu
# mistake out_tanh: u=no cubic
# mistake dx_tanh: inner=no constant + u=no cubic | inner=missing + u=no cubic
# mistake out_exact: argument=x/2
# mistake dx_exact: argument=x/2 + x Phi'(x):2
"""Without the cubic term du/dx is sqrt(2/pi), and that is missing: two ways to say it. erf(x / 2), density doubled."""

import math

import numpy as np

SCALE = math.sqrt(2 / math.pi)


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        inside = np.tanh(SCALE * x)
    else:
        inside = np.vectorize(math.erf)(x / 2)
    return x * (1 + inside) / 2, (x, inside, approximate)


def gelu_backward(dout, cache):
    x, inside, approximate = cache
    if approximate == "tanh":
        dinside = 1 - inside**2
    else:
        dinside = 4 * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return dout * ((1 + inside) / 2 + x * dinside / 2)
