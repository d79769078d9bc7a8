# scratchgpt homework: dropout
import numpy as np


def counter_hash(xp, key, start, n):
    """The draws as Python integers, 32 bits at a time."""
    draws = np.empty(n, np.uint32)
    for i in range(n):
        block, low = divmod(start + i, 2**32)
        word = split_mix(split_mix(key) ^ block)
        for round_key in (word >> 32, word & 0xFFFFFFFF):
            low ^= round_key
            low ^= low >> 16
            low = low * 0x7FEB352D % 2**32
            low ^= low >> 15
            low = low * 0x846CA68B % 2**32
            low ^= low >> 16
        draws[i] = low
    return draws


def split_mix(word):
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def dropout_forward(x, p, key, start=0):
    out, kept = np.zeros(x.size), np.zeros(x.size, bool)
    draws = counter_hash(np, key, start, x.size)
    for i, value in enumerate(x.ravel()):
        if draws[i] >= int(p * 2**32):
            kept[i] = True
            out[i] = value / (1 - p)
    return out.reshape(x.shape), (kept.reshape(x.shape), p)


def dropout_backward(dout, cache):
    kept, p = cache
    return np.where(kept, dout, 0) / (1 - p)


def residual_dropout_forward(x, branch, p, key, start=0):
    dropped, cache = dropout_forward(branch, p, key, start)
    return x + dropped, cache


def residual_dropout_backward(dout, cache):
    return 1 * dout, dropout_backward(dout, cache)
