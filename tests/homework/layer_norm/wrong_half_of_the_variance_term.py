# scratchgpt homework: layer_norm
# mistake dx: variance:1/2
# mistake dweight: rows=last
"""d(c^2) = c dc has lost its 2, and dweight is assigned in the loop over the rows."""

import numpy as np


def layer_norm_forward(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    var = np.square(centred).mean(-1, keepdims=True)
    return centred / np.sqrt(var + eps) * weight + bias, (centred, var + eps, weight)


def layer_norm_backward(dout, cache):
    centred, var, weight = cache
    dxhat = dout * weight
    dvar = np.sum(dxhat * centred, axis=-1, keepdims=True) * -0.5 * var**-1.5
    dcentred = dxhat * var**-0.5 + centred * dvar / centred.shape[-1]
    dx = dcentred - dcentred.mean(-1, keepdims=True)
    dbias = np.zeros_like(weight)
    for row in np.ndindex(var.shape[:2]):
        dweight = dout[row] * centred[row] / np.sqrt(var[row])
        dbias += dout[row]
    return dx, dweight, dbias
