# scratchgpt homework: linear
# mistake dweight: shape
"""dweight comes out as (I, O)."""


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    d = dout.reshape(-1, dout.shape[-1])
    return dout @ weight, x.reshape(-1, x.shape[-1]).T @ d, d.sum(0)
