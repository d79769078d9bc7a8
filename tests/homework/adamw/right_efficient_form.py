# scratchgpt homework: adamw
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    np.multiply(m, beta1, out=m)
    np.add(m, g - beta1 * g, out=m)
    np.multiply(v, beta2, out=v)
    np.add(v, g * g - beta2 * g * g, out=v)
    # the corrections as one factor (Kingma & Ba, section 2), with eps moved along
    root = np.sqrt(1 - beta2**t)
    alpha = lr * root / (1 - beta1**t)
    param -= lr * weight_decay * param
    param -= alpha * m / (np.sqrt(v) + eps * root)
