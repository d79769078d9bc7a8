# scratchgpt homework: adamw
# mistake param: unknown
# mistake v: unknown
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * g
    v[:] = np.maximum(beta2 * v, np.abs(g))
    param *= 1 - lr * weight_decay
    param -= lr / (1 - beta1**t) * m / (v + eps)
