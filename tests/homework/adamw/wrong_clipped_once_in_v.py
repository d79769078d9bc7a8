# scratchgpt homework: adamw
# mistake param: v=once
# mistake v: v=once
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    m[:] = beta1 * m + (1 - beta1) * grad_scale * grad
    v[:] = beta2 * v + (1 - beta2) * grad_scale * grad**2
    param *= 1 - lr * weight_decay
    param -= lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
