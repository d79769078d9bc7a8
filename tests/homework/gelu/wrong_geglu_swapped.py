# scratchgpt homework: gelu/geglu
# mistake out: gate=value
# mistake dgate: inner=no 3
# mistake dvalue: hidden=slope
"""GELU on the wrong one of the two, a lost 3, and a slope for a value."""

import numpy as np

K, C = np.sqrt(2 / np.pi), 0.044715


def gelu(x):
    return 0.5 * x * (1 + np.tanh(K * (x + C * x**3)))


def slope_of(x, three):
    t = np.tanh(K * (x + C * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + three * C * x**2)


def geglu_forward(gate, value):
    return gelu(value) * gate, (gate, value)


def geglu_backward(dout, cache):
    gate, value = cache
    return dout * value * slope_of(gate, 1), dout * slope_of(gate, 3)
