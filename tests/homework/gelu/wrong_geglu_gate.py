# scratchgpt homework: gelu/geglu
# mistake dgate: value=missing
# mistake dvalue: hidden=gate
"""The product rule is forgotten: dgate has no value, dvalue no GELU."""

import numpy as np

K = np.sqrt(2 / np.pi)


def geglu_forward(gate, value):
    t = np.tanh(K * (gate + 0.044715 * gate**3))
    return 0.5 * gate * (1 + t) * value, (gate, t)


def geglu_backward(dout, cache):
    gate, t = cache
    slope = 0.5 * (1 + t) + 0.5 * gate * (1 - t**2) * K * (1 + 3 * 0.044715 * gate**2)
    return dout * slope, dout * gate
