# scratchgpt homework: adamw/adam
# mistake param: decay=none + t=-1
# mistake m: decay=
# mistake v: decay=
import numpy as np


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    mhat = m / (1 - beta1 ** (t - 1))
    vhat = v / (1 - beta2 ** (t - 1))
    param -= lr * mhat / (np.sqrt(vhat) + eps)
