# scratchgpt homework: adamw
# mistake param: decay=grows + step:-1
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param += lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * param)
