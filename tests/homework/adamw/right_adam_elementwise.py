# scratchgpt homework: adamw/adam
def adam_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    for i, (p, g) in enumerate(zip(param.tolist(), grad.tolist())):
        g = g * grad_scale + p * weight_decay
        m[i] = g + beta1 * (m[i] - g)
        v[i] = g * g + beta2 * (v[i] - g * g)
        param[i] = p - lr * m[i] / (1 - beta1**t) / ((v[i] / (1 - beta2**t)) ** 0.5 + eps)
