# scratchgpt homework: adamw
# mistake param: t=+1


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    t += 1
    g = grad * grad_scale
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g**2
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    param[:] = param * (1 - lr * weight_decay) - lr * mhat / (vhat**0.5 + eps)
