# scratchgpt homework: gelu
# mistake out_tanh: u=2/pi
# mistake dx_tanh: u=2/pi
# mistake out_exact: argument=x
# mistake dx_exact: argument=x
"""2/pi without its root; erf(x) without 1/sqrt(2)."""

import math

import numpy as np

SCALE = 2 / math.pi
erf = np.frompyfunc(math.erf, 1, 1)


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        t = np.tanh(SCALE * (x + 0.044715 * x**3))
    else:
        t = erf(x).astype(float)
    return 0.5 * x * (1.0 + t), (x, t, approximate)


def gelu_backward(dout, cache):
    x, t, approximate = cache
    if approximate == "tanh":
        right = 0.5 * x * (1 - t**2) * SCALE * (1 + 3 * 0.044715 * x**2)
    else:
        right = x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return dout * (0.5 * (1.0 + t) + right)
