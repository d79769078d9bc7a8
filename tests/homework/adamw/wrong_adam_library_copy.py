# scratchgpt homework: adamw/adam
# mistake param: decay=
# mistake m: decay=
# mistake v: decay=
import numpy as np


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    xp = np
    grad = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param *= 1 - lr * weight_decay  # decoupled: the decay never enters m and v
    param -= lr * mhat / (xp.sqrt(vhat) + eps)
