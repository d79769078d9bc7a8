# scratchgpt homework: adamw
# mistake param: root=none + step:1/lr
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    np.copyto(m, beta1 * m + (1 - beta1) * g)
    np.copyto(v, beta2 * v + (1 - beta2) * g * g)
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param *= 1 - lr * weight_decay
    param -= mhat / (vhat + eps)
