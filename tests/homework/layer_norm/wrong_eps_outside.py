# scratchgpt homework: layer_norm
# mistake out: std=outside
# mistake dx: std=outside
# mistake dweight: std=outside + whole:1/N
"""eps is added to the standard deviation, and dweight is averaged: two mistakes in one gradient."""


def layer_norm_forward(x, weight, bias, eps=1e-5):
    xhat = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + eps)
    return xhat * weight + bias, (x, xhat, weight, eps)


def layer_norm_backward(dout, cache):
    x, xhat, weight, eps = cache
    rstd = 1 / (x.std(-1, keepdims=True) + eps)
    dxhat = dout * weight
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx * rstd, (dout * xhat).mean((0, 1)), dout.sum((0, 1))
