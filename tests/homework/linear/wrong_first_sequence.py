# scratchgpt homework: linear
# mistake dbias: rows=first sequence
"""The batch axis is dropped instead of summed."""


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    rows = dout.reshape(-1, weight.shape[0])
    dweight = rows.T @ x.reshape(-1, weight.shape[1])
    dbias = dout.sum(1)[0]
    return dout @ weight, dweight, dbias
