# scratchgpt homework: linear
# mistake dweight: layout=operand
"""reshape makes the shapes fit; the numbers are in the wrong places."""


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    n_out, n_in = weight.shape
    dweight = dout.reshape(n_out, -1) @ x.reshape(-1, n_in)
    dbias = dout.reshape(-1, n_out).sum(axis=0)
    return dout @ weight, dweight, dbias
