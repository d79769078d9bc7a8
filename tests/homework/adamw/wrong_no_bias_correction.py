# scratchgpt homework: adamw
# mistake param: correction=none
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    grad = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    param *= 1 - lr * weight_decay
    param -= lr * m / (np.sqrt(v) + eps)
