# scratchgpt homework: adamw
# mistake param: v=m
# mistake v: v=m
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * m * m
    param -= lr * weight_decay * param + lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
