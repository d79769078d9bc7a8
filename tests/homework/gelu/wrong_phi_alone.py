# scratchgpt homework: gelu
# mistake dx_tanh: x Phi'(x):0
# mistake dx_exact: x Phi'(x):0
"""Phi is taken for a constant: the second term of the product rule is missing."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    if approximate == "tanh":
        phi = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    else:
        phi = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))(x)
    return x * phi, phi


def gelu_backward(dout, phi):
    return dout * phi
