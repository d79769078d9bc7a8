# scratchgpt homework: gelu/geglu
# mistake out: raises
# mistake dgate: raises
# mistake dvalue: raises
"""GELU's code under the names of this exercise: value is taken for the option."""

import math

import numpy as np


def geglu_forward(gate, value="tanh"):
    if value == "tanh":
        phi = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate * gate * gate)))
    else:
        phi = 0.5 * (1 + math.erf(gate / math.sqrt(2)))
    return gate * phi, (gate, phi)


def geglu_backward(dout, cache):
    x, phi = cache
    dphi = 2 * phi * (1 - phi) * (math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))
    return dout * (phi + x * dphi)
