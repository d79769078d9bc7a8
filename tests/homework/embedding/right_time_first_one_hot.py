# scratchgpt homework: embedding/time_first
import numpy as np


def one_hot(ids, n):
    return (ids[..., None] == np.arange(n)).astype(float)


def time_first_embedding_forward(ids, wte, wpe, start):
    positions = start + np.indices(ids.shape)[0]
    tokens, places = one_hot(ids, len(wte)), one_hot(positions, len(wpe))
    return tokens @ wte + places @ wpe, (tokens, places)


def time_first_embedding_backward(dout, cache):
    return [np.tensordot(selected, dout, ([0, 1], [0, 1])) for selected in cache]
