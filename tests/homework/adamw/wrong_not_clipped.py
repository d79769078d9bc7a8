# scratchgpt homework: adamw
# mistake param: scale=none
# mistake m: scale=none
# mistake v: scale=none
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param *= 1 - lr * weight_decay
    param -= lr * mhat / (np.sqrt(vhat) + eps)
