# scratchgpt homework: adamw
# mistake param: eps=before
import math

import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    m[:] = m * beta1 + g * (1 - beta1)
    v[:] = v * beta2 + g * g * (1 - beta2)
    step_size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    param -= lr * weight_decay * param
    param -= step_size * m / (np.sqrt(v) + eps)
