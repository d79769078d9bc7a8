# scratchgpt homework: gelu
"""(1 + tanh u) / 2 is sigmoid(2u); erf by a table of functions."""

import math

import numpy as np


def sigmoid(a):
    return np.where(a >= 0, 1, np.exp(-np.abs(a))) / (1 + np.exp(-np.abs(a)))


def tanh_form(x):
    a = np.sqrt(8 / np.pi)
    phi = sigmoid(a * (x + 0.044715 * np.power(x, 3)))
    return phi, a * phi * (1 - phi) * (1 + 3 * 0.044715 * np.square(x))


def erf_form(x):
    flat = np.array([math.erf(value / 2**0.5) for value in x.ravel()])
    return (0.5 + 0.5 * flat).reshape(x.shape), np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


FORMS = {"tanh": tanh_form, "none": erf_form}


def gelu_forward(x, approximate="tanh"):
    phi, density = FORMS[approximate](x)
    return x * phi, (x, phi, density)


def gelu_backward(dout, cache):
    x, phi, density = cache
    return dout * phi + dout * x * density
