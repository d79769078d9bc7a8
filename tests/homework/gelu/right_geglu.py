# scratchgpt homework: gelu/geglu
import numpy as np

K = np.sqrt(2 / np.pi)


def geglu_forward(gate, value):
    t = np.tanh(K * (gate + 0.044715 * gate**3))
    hidden = gate * (1 + t) / 2
    return hidden * value, (gate, value, t, hidden)


def geglu_backward(dout, cache):
    gate, value, t, hidden = cache
    dhidden = dout * value
    slope = (1 + t) / 2 + gate * (1 - t * t) * K * (1 + 3 * 0.044715 * gate**2) / 2
    return dhidden * slope, dout * hidden
