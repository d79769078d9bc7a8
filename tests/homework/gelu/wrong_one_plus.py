# scratchgpt homework: gelu
# mistake out_tanh: x / 2:0
# mistake dx_tanh: first=no 1
# mistake out_exact: x / 2:-1
# mistake dx_exact: first=out
"""0.5 x tanh(u) without the 1 +; a minus in the exact form, and its output where Phi belongs."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        return 0.5 * x * t, (x, t, approximate)
    e = np.vectorize(math.erf)(x / math.sqrt(2))
    return -0.5 * x * (1 - e), (x, e, approximate)


def gelu_backward(dout, cache):
    x, kept, approximate = cache
    if approximate == "tanh":
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return dout * (0.5 * kept + 0.5 * x * (1 - kept**2) * du)
    gelu = 0.5 * x * (1 + kept)
    return dout * (gelu + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))
