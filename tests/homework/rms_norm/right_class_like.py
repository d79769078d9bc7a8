# scratchgpt homework: rms_norm
"""Flattened to rows; the way back goes through each step of the way forward."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Saved:
    x: np.ndarray
    weight: np.ndarray
    ms: np.ndarray
    shape: tuple


def rms_norm_forward(x, weight, eps=1e-6):
    rows = x.reshape(-1, x.shape[-1])
    ms = np.einsum("nc,nc->n", rows, rows)[:, None] / rows.shape[1] + eps
    return (rows * ms**-0.5 * weight).reshape(x.shape), Saved(rows, weight, ms, x.shape)


def rms_norm_backward(dout, cache):
    d = dout.reshape(cache.x.shape)
    dxhat = d * cache.weight
    dinv = (dxhat * cache.x).sum(1, keepdims=True)  # xhat = x * inv
    dms = dinv * -0.5 * cache.ms**-1.5  # inv = ms ** -0.5
    dx = dxhat * cache.ms**-0.5 + dms * 2 * cache.x / cache.x.shape[1]  # ms = mean(x * x) + eps
    return dx.reshape(cache.shape), np.sum(d * cache.x * cache.ms**-0.5, axis=0)
