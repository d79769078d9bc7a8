# scratchgpt homework: dropout/locked
import numpy as np


def locked_dropout_forward(x, branch, p, key, start=0):
    out = np.array(x)
    B, T, C = x.shape
    kept = []
    for b in range(B):
        draws = counter_hash(np, key, start + b * C, C)  # noqa: F821  given
        for c in range(C):
            if draws[c] >= int(p * 2**32):
                kept.append((b, c))
                for t in range(T):
                    out[b, t, c] += branch[b, t, c] / (1 - p)
    return out, (kept, p)


def locked_dropout_backward(dout, cache):
    kept, p = cache
    dbranch = np.zeros_like(dout)
    for b, c in kept:
        dbranch[b, :, c] = dout[b, :, c] / (1 - p)
    return dout.copy(), dbranch
