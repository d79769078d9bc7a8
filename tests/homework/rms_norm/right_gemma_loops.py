# scratchgpt homework: rms_norm/gemma
import math

import numpy as np


def gemma_norm_forward(x, weight, eps=1e-6):
    out = np.empty_like(x)
    roots = {}
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            total = sum(float(v) ** 2 for v in x[b, t])
            roots[b, t] = math.sqrt(total / x.shape[2] + eps)
            for c in range(x.shape[2]):
                out[b, t, c] = x[b, t, c] / roots[b, t] * (1.0 + weight[c])
    return out, (x, weight, roots)


def gemma_norm_backward(dout, cache):
    x, weight, roots = cache
    C = x.shape[2]
    dx, dw = np.empty_like(x), np.zeros(C)
    for (b, t), r in roots.items():
        g = [dout[b, t, c] * (1.0 + weight[c]) for c in range(C)]
        dot = sum(g[c] * x[b, t, c] for c in range(C)) / C
        for c in range(C):
            dx[b, t, c] = g[c] / r - x[b, t, c] * dot / r**3
            dw[c] += dout[b, t, c] * x[b, t, c] / r
    return dx, dw
