# scratchgpt homework: rms_norm
# mistake out: root=1e-6
# mistake dx: root=1e-6 + square:-1
# mistake dweight: root=1e-6
"""A constant at the top of the file, and a + on the way back."""

import numpy as np

EPS = 1e-6


def rms_norm_forward(x, weight, eps=EPS):
    inv_rms = np.reciprocal(np.sqrt(np.square(x).mean(axis=2, keepdims=True) + EPS))
    normed = x * inv_rms
    return normed * weight, {"normed": normed, "inv_rms": inv_rms, "weight": weight}


def rms_norm_backward(dout, cache):
    normed, inv_rms = cache["normed"], cache["inv_rms"]
    grad = dout * cache["weight"]
    mean = (grad * normed).mean(axis=2, keepdims=True)
    return inv_rms * (grad + normed * mean), np.einsum("btc,btc->c", dout, normed)
