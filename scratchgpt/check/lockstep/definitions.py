"""Our ops as PyTorch defines them: what an op must give on whatever it is given, forward and, by autograd, backward.

Each function takes the arguments of the op of its name, as tensors. Imported only where PyTorch is installed.
"""

import math
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

UPSTREAM = 7  # dout's own stream: x may well come from default_rng(0), and x as its own dout hides mistakes


def linear(x, weight, bias=None):
    return F.linear(x, weight, bias)


def embedding(ids, wte, wpe=None, start=0):
    out = F.embedding(ids, wte)
    return out if wpe is None else out + F.embedding(start + torch.arange(ids.shape[1]), wpe)


def layer_norm(x, weight, bias, eps=1e-5):
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def gelu(x, approximate="tanh"):
    return F.gelu(x, approximate=approximate)


def rms_norm(x, weight, eps=1e-6):
    return F.rms_norm(x, weight.shape, weight, eps)


def relu(x):
    return F.relu(x)


def tanh(x):
    return torch.tanh(x)


def silu(x):
    return F.silu(x)


def glu(gate, up, activation="silu"):
    act = {"silu": F.silu, "relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}
    return act[activation](gate) * up


def rotary(x, start=0, base=10000.0, width=None, interleaved=False):
    """Each pair of columns as a complex number, times exp(i angle)."""
    width = x.shape[-1] if width is None else width
    speeds = base ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    angle = torch.outer(torch.arange(start, start + x.shape[1], dtype=x.dtype), speeds)[:, None, :]  # (T, 1, width / 2)
    still, turning = x[..., : x.shape[-1] - width], x[..., x.shape[-1] - width :]
    pairs = turning.unflatten(-1, (-1, 2)) if interleaved else torch.stack(turning.chunk(2, -1), -1)
    turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angle), angle))
    return torch.cat((still, turned.flatten(-2) if interleaved else torch.cat(turned.unbind(-1), -1)), -1)


def position_bias(table, T, S, start=0, bidirectional=True, max_distance=128):
    """T5's buckets: in each half (or the whole, for keys behind alone) the nearer half of the distances one by one, the
    rest by logarithm."""
    distance = torch.arange(S) - torch.arange(start, start + T)[:, None]
    n = len(table) // 2 if bidirectional else len(table)
    behind = distance.abs() if bidirectional else (-distance).clamp(min=0)
    near = n // 2
    scale = (n - near) / math.log(max_distance / near)
    far = near + (torch.log(behind.clamp(min=near).double() / near) * scale).long()
    bucket = torch.where(behind < near, behind, far.clamp(max=n - 1)) + n * (bidirectional & (distance > 0))
    return F.embedding(bucket, table).permute(2, 0, 1)[None]


def attention(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """Masks become one, as PyTorch's own is_causal aligns T < S at the top left; ours at the bottom right."""
    T, S = q.shape[1], k.shape[1]
    visible = torch.ones(q.shape[0], 1, T, S, dtype=torch.bool)
    if causal:
        visible = visible & torch.ones(T, S, dtype=torch.bool).tril(S - T)
    if mask is not None:
        visible = visible & mask[:, None, None, :]
    return attend(q, k, v, visible, bias, scale)


def attend(q, k, v, visible, bias=None, scale=None):
    """q (B, T, H, D), k and v (B, S, G, D or Dv), visible (B, 1, T, S) bool -> (B, T, H, Dv). A row that sees nothing
    is NaN in PyTorch's definition: its output is set to 0, which blocks its gradient."""
    empty = ~visible.any(-1, keepdim=True)  # (B, 1, T, 1)
    added = torch.zeros(q.shape[0], q.shape[2], q.shape[1], k.shape[1], dtype=q.dtype)
    if bias is not None:
        added = added + bias
    added = added.masked_fill(~visible & ~empty, -torch.inf)
    k, v = (a.repeat_interleave(q.shape[2] // a.shape[2], 2) for a in (k, v))  # groups of heads share keys and values
    heads = (a.transpose(1, 2) for a in (q, k, v))
    out = F.scaled_dot_product_attention(*heads, attn_mask=added, scale=scale)
    return out.masked_fill(empty, 0).transpose(1, 2)


def cross_entropy(x, weight, targets, token_weights, bias=None):
    nll = F.cross_entropy(F.linear(x, weight, bias), targets, ignore_index=-100, reduction="none")
    return (nll * token_weights).sum()


def softmax_cross_entropy(logits, targets, row_weights, mask=None):
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    counts = row_weights != 0  # a row of padding would be NaN
    nll = F.cross_entropy(logits[counts], targets[counts], reduction="none")
    return (nll * row_weights[counts]).sum()


def binary_cross_entropy(logits, targets, row_weights):
    each = F.binary_cross_entropy_with_logits(logits, targets.expand_as(logits), reduction="none")
    return (each.sum(-1) * row_weights).sum()


def squared_error(x, targets, row_weights):
    return (F.mse_loss(x, targets, reduction="none").sum(-1) * row_weights).sum()


def dot(x, y):
    return torch.einsum("nc,nkc->nk", x, y)


def softmax(x):
    return torch.softmax(x, -1)


def sigmoid(x):
    return torch.sigmoid(x)


def choose_experts(scores, k, n_groups=1, top_groups=1):
    """Whole numbers: there is nothing to differentiate."""
    if top_groups < n_groups:
        groups = scores.unflatten(1, (n_groups, -1))
        best = groups.topk(2, -1)[0].sum(-1).sort(stable=True, descending=True)[1][:, :top_groups]
        kept = torch.zeros(groups.shape[:2], dtype=torch.bool).scatter(1, best, True)
        scores = groups.masked_fill(~kept[..., None], -torch.inf).flatten(1)
    return scores.sort(stable=True, descending=True)[1][:, :k]


def gate(scores, chosen, normalise=True, scale=1.0):
    weights = scores.gather(1, chosen)
    return scale * (weights / (weights.sum(-1, keepdim=True) + 1e-20) if normalise else weights)


def load_balance(probs, chosen, token_weights):
    hits = F.one_hot(chosen, probs.shape[-1]).sum(2).to(probs.dtype)  # (B, T, E)
    total = token_weights.sum(1)  # (B,)
    share = token_weights / torch.where(total == 0, 1, total)[:, None]
    f, P = (torch.einsum("bt,bte->be", share, each) for each in (hits, probs))
    return probs.shape[-1] * (total[:, None] * f * P).sum()


def dispatch(x, order, place):
    return x.repeat_interleave(place.shape[1], 0)[order]


def grouped_linear(x, weight, edges):
    groups = x.split([stop - start for start, stop in pairwise(edges)])
    return torch.cat([F.linear(rows, matrix) for rows, matrix in zip(groups, weight)])


def combine(y, weights, order, place):
    return torch.einsum("nkc,nk->nc", y[place], weights)


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    """param, m and v after update t of torch.optim.AdamW, in the order of our arguments (grad is as it was)."""
    parameter = torch.nn.Parameter(param.clone())
    optimizer = torch.optim.AdamW([parameter], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    state = {"step": torch.tensor(float(t - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
    optimizer.state[parameter] = state
    parameter.grad = grad * grad_scale
    optimizer.step()
    return parameter.detach(), grad, state["exp_avg"], state["exp_avg_sq"]


CONSTANT = ("token_weights", "targets", "row_weights")  # floating-point arguments that no gradient goes to
DEFINITIONS = {
    f.__name__: f
    for f in (
        *(linear, embedding, layer_norm, rms_norm, gelu, relu, tanh, silu, glu, rotary, position_bias, attention),
        *(cross_entropy, softmax_cross_entropy, binary_cross_entropy, squared_error, dot, softmax, sigmoid),
        *(choose_experts, gate, load_balance, dispatch, grouped_linear, combine),
    )
}


def run(op, args, dout, dtype):
    """What an op must give, computed in dtype ("float32" or "float64"): {"out": array} or, where dout is its gradient,
    {argument: gradient} of every floating-point array in args {name: value}."""
    tensors = as_tensors(args, dtype)
    if dout is None:
        return {"out": DEFINITIONS[op](**tensors).numpy()}
    wanted = {name: tensor.requires_grad_() for name, tensor in tensors.items() if is_float(tensor)}
    out = DEFINITIONS[op](**tensors)
    dout = as_tensor(dout, dtype).expand_as(out)
    gradients = torch.autograd.grad(out, tuple(wanted.values()), dout, materialize_grads=True)
    return {name: gradient.numpy() for name, gradient in zip(wanted, gradients)}


@cache
def fineness(dtype, terms):
    """How large an error of arithmetic in dtype is for an error of 1 in float32, where sums have so many terms.

    float64's epsilon is 2^-29 of float32's, but PyTorch may sum a float64 product in one long chain, whose error grows
    with the square root of the terms, where it keeps many short ones in float32. How much coarser its float64 products
    are, each type in its own epsilons, is measured here against exact sums.
    """
    if dtype == "float32":
        return 1.0
    x, y = np.random.default_rng(0).standard_normal((2, 64, terms)).astype(np.float32).astype(np.float64)
    exact = np.array([math.fsum(products) for products in x * y])  # a product of two float32 numbers is exact

    def off(dtype):
        products = as_tensor(x, dtype) @ as_tensor(y, dtype).T
        error = np.abs(products.numpy().diagonal() - exact).max()
        return max(float(error / np.finfo(dtype).eps), np.abs(exact).max() / 2)  # half an epsilon is no error

    return 2.0**-29 * max(1.0, off("float64") / off("float32"))


def update(args, dtype):
    """What adamw_step must leave in param, grad, m and v."""
    return tuple(tensor.numpy() for tensor in adamw_step(**as_tensors(args, dtype)))


def parameters_of(module):
    """{name: array} of a module's parameters; a function has none."""
    if not isinstance(module, torch.nn.Module):
        return {}
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def run_module(module, arrays, dtype, seed):
    """{"out": array, "dout": a random gradient of it, and under each array's key its gradient}, computed in dtype.
    arrays: {position of an input, or name of a parameter: array}."""
    tensors = as_tensors(arrays, dtype)
    wanted = {key: tensor.requires_grad_() for key, tensor in tensors.items() if is_float(tensor)}
    inputs = [tensors.pop(key) for key in arrays if isinstance(key, int)]
    if isinstance(module, torch.nn.Module):
        buffers = {name: as_tensor(buffer.numpy(), dtype) for name, buffer in module.named_buffers()}
        out = torch.func.functional_call(module, buffers | tensors, tuple(inputs))
    else:
        out = module(*inputs, **tensors)
    out = out[0] if isinstance(out, tuple) else out
    dout = np.random.default_rng((UPSTREAM, seed)).standard_normal(out.shape)
    gradients = torch.autograd.grad(out, tuple(wanted.values()), as_tensor(dout, dtype), materialize_grads=True)
    gradients = {key: gradient.numpy() for key, gradient in zip(wanted, gradients)}
    return {"out": out.detach().numpy(), "dout": dout} | gradients


def as_tensors(args, dtype):
    return {name: as_tensor(value, dtype) if isinstance(value, np.ndarray) else value for name, value in args.items()}


def as_tensor(value, dtype):
    """value as a tensor of its own; floats become dtype."""
    tensor = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    return tensor.to(getattr(torch, dtype)) if is_float(tensor) else tensor


def is_float(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()
