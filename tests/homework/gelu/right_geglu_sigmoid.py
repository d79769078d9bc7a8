# scratchgpt homework: gelu/geglu
"""The slope is made in forward, with the sigmoid of twice the argument."""

import numpy as np


def geglu_forward(gate, value):
    phi = 1 / (1 + np.exp(-np.sqrt(8 / np.pi) * (gate + 0.044715 * gate * gate * gate)))
    du = np.sqrt(2 / np.pi) * (1 + 0.134145 * gate * gate)
    slope = phi + 2 * gate * phi * (1 - phi) * du
    return gate * phi * value, (slope * value, gate * phi)


def geglu_backward(dout, cache):
    by_gate, by_value = cache
    return dout * by_gate, dout * by_value
