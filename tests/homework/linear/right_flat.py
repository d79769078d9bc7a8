# scratchgpt homework: linear
"""Rows flattened, two matrix products."""

import numpy as np


def linear_forward(x, weight, bias=None):
    out = np.dot(x, weight.T)
    if bias is not None:
        out = out + bias
    return out, {"x": x, "weight": weight, "bias": bias}


def linear_backward(dout, cache):
    x, weight = cache["x"], cache["weight"]
    d = dout.reshape(-1, dout.shape[-1])
    dx = (d @ weight).reshape(x.shape)
    dweight = d.T @ x.reshape(len(d), -1)
    dbias = np.ones(len(d)) @ d if cache["bias"] is not None else None
    return dx, dweight, dbias
