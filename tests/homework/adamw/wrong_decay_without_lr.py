# scratchgpt homework: adamw
# mistake param: decay=no lr
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    for i in range(param.size):
        g = grad[i] * grad_scale
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        update = lr * m[i] / (1 - beta1**t) / (np.sqrt(v[i] / (1 - beta2**t)) + eps)
        param[i] = param[i] - update - weight_decay * param[i]
