# scratchgpt homework: rms_norm
# mistake out: float32
# mistake dx: float32
# mistake dweight: float32
"""The cast that Llama's code makes for its half precision."""

import numpy as np


def rms_norm_forward(x, weight, eps=1e-6):
    dtype = x.dtype
    x32 = x.astype(np.float32)
    rrms = 1 / np.sqrt(np.mean(x32 * x32, axis=-1, keepdims=True) + np.float32(eps))
    xhat = (x32 * rrms).astype(dtype)
    return weight * xhat, (xhat, rrms, weight)


def rms_norm_backward(dout, cache):
    xhat, rrms, weight = cache
    dxhat = dout * weight
    dx = rrms * (dxhat - xhat * np.mean(dxhat * xhat, axis=-1, keepdims=True))
    return dx, np.einsum("btc,btc->c", dout, xhat)
