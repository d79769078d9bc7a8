# scratchgpt homework: linear
# mistake out: weight=reshaped
"""The weight is reshaped to (I, O) on the way forward; the way back is right."""


def linear_forward(x, weight, bias=None):
    n_out, n_in = weight.shape
    out = x @ weight.reshape(n_in, n_out)
    out += bias
    return out, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    axes = tuple(range(dout.ndim - 1))
    d, x2 = dout.reshape(-1, dout.shape[-1]), x.reshape(-1, x.shape[-1])
    return dout @ weight, d.T @ x2, dout.sum(axes)
