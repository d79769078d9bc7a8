# scratchgpt homework: linear/conv1d
# mistake out: raises
# mistake dx: raises
# mistake dweight: raises
# mistake dbias: raises
"""The code of the (O, I) exercise under the names of this one."""


def conv1d_forward(x, weight, bias=None):
    out = x @ weight.T
    if bias is not None:
        out += bias
    return out, (x, weight, bias is not None)


def conv1d_backward(dout, cache):
    x, weight, has_bias = cache
    rows = dout.reshape(-1, dout.shape[-1])
    return dout @ weight, rows.T @ x.reshape(-1, x.shape[-1]), rows.sum(0) if has_bias else None
