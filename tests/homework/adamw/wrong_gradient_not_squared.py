# scratchgpt homework: adamw
# mistake param: v=abs
# mistake v: v=abs
import numpy as np


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    size = np.abs(grad) * grad_scale
    direction = np.sign(grad) * size
    m *= beta1
    m += (1 - beta1) * direction
    v *= beta2
    v += (1 - beta2) * size
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    param *= 1 - lr * weight_decay
    param -= lr * mhat / (np.sqrt(vhat) + eps)
