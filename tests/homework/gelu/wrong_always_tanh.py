# scratchgpt homework: gelu
# mistake out_exact: form=tanh
# mistake dx_exact: form=tanh
# mistake dx_tanh: x Phi'(x):2
"""The option is not looked at in forward; backward has a 2 too many where it thinks of tanh."""

import numpy as np

A, C = np.sqrt(2 / np.pi), 0.044715


def gelu_forward(x, approximate="tanh"):
    t = np.tanh(A * (x + C * x**3))
    return x * (1 + t) * 0.5, {"x": x, "t": t, "approximate": approximate}


def gelu_backward(dout, cache):
    x, t = cache["x"], cache["t"]
    dt = (1 - t**2) * A * (1 + 3 * C * x**2)
    half = 1.0 if cache["approximate"] == "tanh" else 0.5
    return dout * (0.5 * (1 + t) + half * x * dt)
