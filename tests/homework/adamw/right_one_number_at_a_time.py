# scratchgpt homework: adamw
import math


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    for i in range(len(param)):
        g = float(grad[i]) * grad_scale
        m[i] += (1 - beta1) * (g - m[i])
        v[i] += (1 - beta2) * (g * g - v[i])
        mhat = m[i] / (1 - math.pow(beta1, t))
        vhat = v[i] / (1 - math.pow(beta2, t))
        param[i] *= 1 - lr * weight_decay
        param[i] -= lr * mhat / (math.sqrt(vhat) + eps)
