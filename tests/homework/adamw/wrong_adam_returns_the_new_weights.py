# scratchgpt homework: adamw/adam
# mistake param: step:0
import numpy as np


def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale + weight_decay * param
    m += (1 - beta1) * (g - m)
    v += (1 - beta2) * (g * g - v)
    param = param - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return param
