# scratchgpt homework: rms_norm
# mistake dx: square:0
# mistake dweight: factor=x
"""The root mean square is taken for a constant; dweight uses x."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    rms = np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return weight * x / rms, (x, rms, weight)


def rms_norm_backward(dout, cache):
    x, rms, weight = cache
    return dout * weight / rms, np.einsum("btc,btc->c", dout, x)
