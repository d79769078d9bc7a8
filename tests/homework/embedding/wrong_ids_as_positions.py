# scratchgpt homework: embedding
# mistake out: at=ids
# mistake dwpe: at=ids
# mistake g_wpe: at=ids
import numpy as np


def look_up(table, rows):
    return table[rows]


def look_up_backward(dout, rows, shape):
    gradient = np.zeros(shape)
    np.add.at(gradient, rows, dout)
    return gradient


def embedding_forward(ids, wte, wpe, start=0):
    return look_up(wte, ids) + look_up(wpe, ids % len(wpe)), (ids, wte.shape, wpe.shape)


def embedding_backward(dout, cache):
    ids, wte_shape, wpe_shape = cache
    return look_up_backward(dout, ids, wte_shape), look_up_backward(dout, ids % wpe_shape[0], wpe_shape)


def embed_backward(ops, dout, cache, dwte, dwpe):
    for into, what in zip([dwte, dwpe], ops.embedding_backward(dout, cache)):
        into += what
