# scratchgpt homework: linear
# mistake *: overwrites
"""The numbers are right, but dout is summed up in its own first row: reshape makes a view, not a copy."""


def linear_forward(x, weight, bias=None):
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    x, weight = cache
    dx = dout @ weight
    rows = dout.reshape(-1, dout.shape[-1])
    dweight = rows.T @ x.reshape(-1, x.shape[-1])
    dbias = rows[0]
    for row in rows[1:]:
        dbias += row
    return dx, dweight, dbias.copy()
