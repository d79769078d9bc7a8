# scratchgpt homework: linear
# mistake dweight: whole:1/N
# mistake dbias: whole:1/N
"""The gradients of the parameters are averaged over the rows."""


def rows_of(a):
    return a.reshape(-1, a.shape[-1])


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    n = len(rows_of(dout))
    return dout @ weight, rows_of(dout).T @ rows_of(x) / n, rows_of(dout).mean(0)
