# scratchgpt homework: gelu
# mistake dx_tanh: inner=no 3
# mistake dx_exact: density=no half
"""The derivative of x^3 has lost its 3, the density its half."""

from math import erf, exp, pi, sqrt, tanh

import numpy as np

C = 0.044715


def gelu_forward(x, approximate="tanh"):
    out = np.zeros(x.shape)
    for i, value in np.ndenumerate(x):
        if approximate == "tanh":
            out[i] = 0.5 * value * (1 + tanh(sqrt(2 / pi) * (value + C * value**3)))
        else:
            out[i] = 0.5 * value * (1 + erf(value / sqrt(2)))
    return out, (x, approximate)


def gelu_backward(dout, cache):
    x, approximate = cache
    dx = np.zeros(x.shape)
    for i, value in np.ndenumerate(x):
        if approximate == "tanh":
            t = tanh(sqrt(2 / pi) * (value + C * value**3))
            slope = 0.5 * (1 + t) + 0.5 * value * (1 - t * t) * sqrt(2 / pi) * (1 + C * value**2)
        else:
            slope = 0.5 * (1 + erf(value / sqrt(2))) + value * exp(-(value**2)) / sqrt(2 * pi)
        dx[i] = dout[i] * slope
    return dx
