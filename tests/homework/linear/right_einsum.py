# scratchgpt homework: linear
from numpy import einsum


def linear_forward(x, weight, bias=None):
    out = einsum("...i,oi->...o", x, weight)
    return out if bias is None else out + bias, (x, weight, bias)


def linear_backward(dout, cache):
    x, weight, bias = cache
    return (
        einsum("bto,oi->bti", dout, weight),
        einsum("bto,bti->oi", dout, x),
        None if bias is None else einsum("bto->o", dout),
    )
