# scratchgpt homework: adamw
# mistake param: correction=m
import numpy as np


def moving_average(average, new, beta):
    average[...] = beta * average + (1 - beta) * new


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    g = grad * grad_scale
    moving_average(m, g, beta1)
    moving_average(v, g * g, beta2)
    mhat = m / (1 - beta1**t)
    param -= lr * weight_decay * param
    param -= lr * mhat / (np.sqrt(v) + eps)
