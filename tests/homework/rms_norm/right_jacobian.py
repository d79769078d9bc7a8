# scratchgpt homework: rms_norm
"""Row by row, with the whole matrix of derivatives."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    rms = np.hypot(length / np.sqrt(x.shape[-1]), np.sqrt(eps))
    return weight * (x / rms), (x, weight, rms)


def rms_norm_backward(dout, cache):
    x, weight, rms = cache
    n = x.shape[-1]
    dx, dweight = np.zeros(x.shape), np.zeros(n)
    for place in np.ndindex(x.shape[:-1]):
        row, r = x[place], rms[place].item()
        dweight += dout[place] * row / r
        jacobian = np.eye(n) / r - np.outer(row, row) / (n * r**3)
        dx[place] = jacobian @ (weight * dout[place])
    return dx, dweight
