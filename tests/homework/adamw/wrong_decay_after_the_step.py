# scratchgpt homework: adamw
# mistake param: decay=after
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad_scale * grad
    m += (1 - beta1) * (g - m)
    v += (1 - beta2) * (g * g - v)
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param -= lr * mhat / (np.sqrt(vhat) + eps)
    param -= lr * weight_decay * param
