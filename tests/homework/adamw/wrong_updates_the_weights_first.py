# scratchgpt homework: adamw
# mistake param: moments=both
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param *= 1 - lr * weight_decay
    param -= lr * mhat / (np.sqrt(vhat) + eps)
    g = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
