# scratchgpt homework: gelu
# mistake out_tanh: form=exact
# mistake dx_tanh: form=exact
"""Always the exact form."""

import math

import numpy as np


def gelu_forward(x, approximate="tanh"):
    cdf = (1 + np.vectorize(math.erf)(x * 0.5**0.5)) / 2
    return x * cdf, (x, cdf)


def gelu_backward(dout, cache):
    x, cdf = cache
    pdf = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    dx = dout * cdf
    dx += dout * x * pdf
    return dx
