# scratchgpt homework: linear/conv1d
# mistake dx: weight=reshaped
# mistake dweight: layout=result
"""The library's (O, I) gradients, reshaped to (I, O)."""


def conv1d_forward(x, weight, bias):
    return x @ weight + bias, (x, weight)


def conv1d_backward(dout, cache):
    x, weight = cache
    d = dout.reshape(-1, dout.shape[-1])
    dx = dout @ weight.reshape(weight.shape[::-1])
    dweight = (d.T @ x.reshape(-1, x.shape[-1])).reshape(weight.shape)
    return dx, dweight, d.sum(0)
