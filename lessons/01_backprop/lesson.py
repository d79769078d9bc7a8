# %% [markdown]
# # Backprop by hand, on three ops
# About 15 minutes. You need matrix products and the chain rule for functions of one variable; nothing about neural
# networks.
#
# Training a language model means asking of every weight: *if you moved a little, how would the loss move?* A model has
# millions of weights, so the answers must be cheap. Backpropagation (Rumelhart, Hinton & Williams 1986) gives all of
# them for about twice the price of computing the loss. Here it is on three ops, the very ones a GPT is made of. Step
# *into* them as you go: each is a few lines.
#
# ## 1. Forward: many numbers in, one number out
# The network reads 2 positions of a text, each a vector of 3 numbers, and guesses the next of 5 tokens.
#
# - **linear**: `z = x Wᵀ + b`
# - **GELU**: `a = z Φ(z)`, Φ the normal distribution function (Hendrycks & Gimpel 2016), in the form with tanh that GPT
#   uses. Large z pass, negative ones are nearly cut off.
# - **cross-entropy**, with the output head in the same op: `logits = a Hᵀ`, one score per token; the softmax
#   `p = exp(logits) / Σ exp(logits)` makes them probabilities; the loss of a row is `−ln p[target]`, 0 when the network
#   is sure and right.
#
# All sizes differ (2, 3, 4, 5), so a shape tells you what it is.

# %% The three ops
import math

import numpy as np

from scratchgpt.check import gradient
from scratchgpt.lesson import Curves, Heat
from scratchgpt.ops.reference import (
    cross_entropy_backward,
    cross_entropy_forward,
    gelu_backward,
    gelu_forward,
    linear_backward,
    linear_forward,
)

tokens = ["the", "cat", "sat", "on", "mat"]
x = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]])  # (2, 3)
weight = np.array([[2, 0, 1], [0, 2, -1], [-2, 2, 0], [1, 1, 1]]) / 2  # (4, 3)
bias = np.array([0.0, 0.5, 0.0, -0.5])  # (4,)
head = np.array([[1, 0, 0, -1], [0, 1, 0, 1], [0, 0, 1, 0], [-1, 0, 1, 0], [0, -1, 0, 1]]) / 2
targets = np.array([1, 4])  # the right answers: "cat" for row 0, "mat" for row 1
row_weights = np.array([0.5, 0.5])  # the mean of 2 rows

z, linear_cache = linear_forward(x, weight, bias)  # (2, 4)
a, gelu_cache = gelu_forward(z)  # (2, 4)
loss, head_cache = cross_entropy_forward(a, head, targets, row_weights)
print(Heat(z, title="z, after linear"))
print(Heat(a, title="a, after GELU"))
print(f"loss {loss:.4f}; five equal chances would score ln 5 = {math.log(5):.4f}")

# %% [markdown]
# ## 2. The expensive way
# The gradient of the loss by W is a matrix of W's shape, written `dweight`: each entry says how fast the loss changes
# when that weight does. We could nudge one weight, run the network again, and divide.


# %% One nudge
def network_forward(x, weight, bias, head):
    z, linear_cache = linear_forward(x, weight, bias)
    a, gelu_cache = gelu_forward(z)
    loss, head_cache = cross_entropy_forward(a, head, targets, row_weights)
    return loss, (linear_cache, gelu_cache, head_cache)


nudge = 0.001
moved = weight.copy()
moved[0, 0] += nudge
moved_loss, _ = network_forward(x, moved, bias, head)  # @over
slope = (moved_loss - loss) / nudge
n_weights = weight.size + bias.size + head.size
print(f"d loss / d weight[0, 0] is about {slope:.4f}")
print(f"all {n_weights} weights would cost {n_weights} more forward passes")

# %% [markdown]
# One forward pass per weight. For a billion weights that is a billion passes, for *one* step of training.
#
# ## 3. The cheap way: one rule
# Walk from the loss back to the input. At each op somebody hands you `dout`, the gradient of the loss by the op's
# *output*. You hand back one gradient per *input*. That is the whole contract of a backward:
#
# `dx[i] = Σⱼ dout[j] · ∂out[j]/∂x[i]`
#
# An input reaches the loss through every output it touches, so the contributions add up. The op needs to know nothing
# about the rest of the network: `dout` is all that the rest has to say. Three habits follow.
#
# - **dX has X's shape.** Always. Check it first.
# - **Forward leaves a cache.** The slope of an op depends on where it was; what backward needs, forward must keep. This
#   is where the memory goes in training.
# - **Backward runs in the opposite order**, last op first.
#
# ## 4. Op 3, cross-entropy
# Start at the end, where d loss / d loss = 1. For one row, `loss = ln Σ exp(logits) − logits[target]`. The first term's
# derivative is the softmax p, the second's is 1 at the target:
#
# `dlogits = p − onehot(target)`, times the row's weight.

# %% [markdown] predict
# The 5 entries of one row of `dlogits` are added up. What is the sum?
# - 0
# - 0.5, the row's weight
# - 1
# - the loss
# <!-- answer: "0" if np.abs(dlogits.sum(-1)).max() < 1e-12 else "something else" -->
# p sums to 1 and so does onehot. There is a reason behind it: adding the same number to all logits changes no
# probability, so the loss must be flat in that direction. Every token is pushed down by the probability it was given,
# and the target is pushed up by all of it together.

# %% Backward through cross-entropy
logits = a @ head.T  # (2, 5)
p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)  # softmax
dlogits = row_weights[:, None] * (p - np.eye(5)[targets])  # (2, 5)
print(Heat(p, cols=tokens, title="p: what the network believes"))
print(Heat(dlogits, cols=tokens, title="dlogits: blue will be pushed down, red up"))

da, dhead = cross_entropy_backward(1.0, head_cache)  # (2, 4), (5, 4)
assert np.allclose(da, dlogits @ head)

# %% [markdown]
# The gradient is *belief minus truth*. A row that is right and sure of it sends back almost nothing. From dlogits on,
# the head is a linear map like any other: `da = dlogits H` and `dH = dlogitsᵀ a`, for reasons that section 6 gives.
#
# The library's op does one thing more: it subtracts each row's largest logit before the exponential. By the argument
# above this changes nothing, except that a logit of 1000 no longer overflows.
#
# ## 5. Op 2, GELU
# An element-wise op is the easy case: `a[i]` depends on `z[i]` alone, the sum has one term, and
#
# `dz = da · GELU′(z)`, with `GELU′(z) = Φ(z) + z Φ′(z)`.
#
# The slope is taken at the *input* z, not at the output a, which is why z is in the cache.

# %% [markdown] predict
# A slope below 1 shrinks the gradient on its way down. How large can GELU's slope get?
# - never above 0.5
# - never above 1
# - a little above 1
# <!-- answer: "a little above 1" if 1 < slopes.max() < 1.5 else "never above 1" -->
# And it is not always positive: left of its minimum GELU falls, so there the gradient even changes its sign. ReLU has
# slope 0 on that whole side and a unit stuck there learns nothing; GELU keeps a little.

# %% Backward through GELU
grid = np.linspace(-4, 4, 33)
values, grid_cache = gelu_forward(grid)  # @over
slopes = gelu_backward(np.ones(33), grid_cache)  # @over
print(Curves({"GELU": values, "its slope": slopes}, x=grid, xlabel="z"))
print(f"slopes from {slopes.min():.3f} to {slopes.max():.3f}, at z = {grid[slopes.argmax()]}")

dz = gelu_backward(da, gelu_cache)  # (2, 4)
print(Heat(dz, title="dz"))

# %% [markdown]
# ## 6. Op 1, linear
# `z[n, o] = Σᵢ x[n, i] W[o, i] + b[o]`. Apply the rule to each of the three inputs:
#
# - `dx = dz W`: `x[n, i]` touches all of row n of z, through the weights `W[:, i]`.
# - `dW = dzᵀ x`: `W[o, i]` is used by *every* row n, so its gradient is a sum over rows. (In a GPT the rows are all
#   positions of all texts in the batch: `(B, T, C)` is flattened to `(B·T, C)` first.)
# - `db` is left to you.
#
# A check for the forgetful: of dz (2, 4) and x (2, 3), the only product with W's shape (4, 3) is `dzᵀ x`. Shapes find
# the formula when all sizes differ, and lie when they do not.

# %% [markdown] predict
# Forward adds the 4 numbers of b to each of the 2 rows. What is `dbias`?
# - dz, unchanged
# - the mean of dz's rows
# - the sum of dz's rows
# - all ones
# <!-- answer: ["the mean of dz's rows", "the sum of dz's rows"][int(np.allclose(dbias, dz.sum(0)))] -->
# b was copied to both rows, and each copy moves the loss. **A copy on the way forward is a sum on the way back**, and a
# sum on the way forward is a copy on the way back. The mean has the right shape and even the right direction, so it is
# easily missed. The averaging was already done, once, by the row weights of the loss.

# %% Backward through linear
dx, dweight, dbias = linear_backward(dz, linear_cache)  # (2, 3), (4, 3), (4,)
print(Heat(dweight, title="dweight"))
print(Heat([dbias], title="dbias"))
print(f"dweight[0, 0] = {dweight[0, 0]:.4f}; the nudge said {slope:.4f}")

# %% [markdown]
# All gradients, with two products per linear map where forward had one: backward costs twice the forward. That is why a
# training step is counted as 6 operations per weight and token, 2 forward and 4 backward (Kaplan et al. 2020, section
# 2.1).
#
# ## 7. What a gradient promises
# Put the three backwards in a row and the network, too, is a pair. Then step against the gradient: `W −= η dW`, and so
# for b and H. The gradient promises that the loss falls by `η ‖g‖²`, g being all gradients together.

# %% [markdown] predict
# A step of η = 1 lowers the loss. What does a step of 4 do?
# - the loss falls further
# - the loss falls, but less than with 1
# - the loss ends above where it started
# <!-- answer: "the loss ends above where it started" if loss_after(4.0) > loss else "the loss falls further" -->
# The promise is kept for small steps and breaks for large ones: a gradient is a statement about *here*. Hence learning
# rates, and lesson 6. Move the slider to see where it breaks.

# %% A step downhill
step_size = 1.0  # @param {type:"slider", min:0.5, max:4.0, step:0.5}


def network_backward(dloss, cache):
    linear_cache, gelu_cache, head_cache = cache
    da, dhead = cross_entropy_backward(dloss, head_cache)
    dz = gelu_backward(da, gelu_cache)
    dx, dweight, dbias = linear_backward(dz, linear_cache)
    return dx, dweight, dbias, dhead


def loss_after(eta):
    return network_forward(x, weight - eta * dweight, bias - eta * dbias, head - eta * dhead)[0]


slope_downhill = (dweight**2).sum() + (dbias**2).sum() + (dhead**2).sum()
promised = loss - step_size * slope_downhill
reached = loss_after(step_size)  # @over
etas = np.linspace(0, 4, 17)
along = [loss_after(eta) for eta in etas]  # @over
promises = np.maximum(0, loss - etas * slope_downhill)  # a loss is never negative
print(f"step {step_size}: from {loss:.3f}, promised {promised:.3f}, reached {reached:.3f}")
curves = {"the loss": along, "the promise": promises}
print(Curves(curves, x=etas, lines={"reached": reached}, xlabel="step size"))

# %% [markdown]
# ## 8. Is it right? Ask the definition
# A wrong gradient often trains, only worse. So every backward is compared with a numeric derivative, which needs no
# calculus: `(f(w + h) − f(w − h)) / 2h`, off by a multiple of h².

# %% [markdown] predict
# Which h gives the most accurate central difference, in ordinary 64-bit numbers?
# - 1e-01
# - 1e-05
# - 1e-10
# - 1e-15
# <!-- answer: min(["1e-01", "1e-05", "1e-10", "1e-15"], key=lambda h: central_error[float(h)]) -->
# Small h, small h². But `f(w + h)` and `f(w − h)` agree in all but their last digits, and the subtraction leaves only
# those: the rounding error, about 1e-16, is divided by h. In between lies the best there is.


# %% The error of a numeric derivative
def loss_at(w):
    changed = weight.astype(np.asarray(w).dtype)
    changed[0, 0] = w
    return network_forward(x, changed, bias, head)[0]


w, truth = weight[0, 0], dweight[0, 0]
central_error, complex_error = {}, {}
for power in range(1, 16):  # @skip
    h = float(f"1e-{power:02}")
    central = (loss_at(w + h) - loss_at(w - h)) / (2 * h)
    complex_step = loss_at(w + 1j * h).imag / h
    central_error[h] = abs(central / truth - 1)
    complex_error[h] = abs(complex_step / truth - 1)
central_digits = [-math.log10(max(error, 1e-16)) for error in central_error.values()]
complex_digits = [-math.log10(max(error, 1e-16)) for error in complex_error.values()]
curves = {"central difference": central_digits, "complex step": complex_digits}
print(Curves(curves, x=range(1, 16), xlabel="k, where h = 10⁻ᵏ", ylabel="correct digits"))

# %% [markdown]
# The other curve is the **complex step** (Squire & Trapp 1998): `f(w + ih) = f(w) + i h f′(w) − …`, so
# `f′(w) = Im f(w + ih) / h`. Nothing is subtracted, nothing is lost, and h may be 1e-30. It needs an f that is analytic
# in every line: no abs, no max of the values themselves. The library's check uses it wherever it can:

# %% The library's check
report = gradient(network_forward, network_backward, x, weight, bias, head)  # @over
print(report)

# %% [markdown]
# ## 9. What a check does not see
# To check a single op, one needs a scalar. Many checks take `out.sum()`, which is to say: `dout` is all ones. Here are
# five wrong backwards, each a mistake that people make.


# %% Five wrong backwards
def gelu_without_dout(dout, cache):
    return gelu_backward(dout * 0 + 1, cache)  # the slope alone


def linear_with_dx_of_the_mean_row(dout, cache):
    dx, dweight, dbias = linear_backward(dout, cache)
    return dx * 0 + dx.mean(0), dweight, dbias


def linear_with_dweight_of_mean_rows(dout, cache):
    dx, _, dbias = linear_backward(dout, cache)
    return dx, np.outer(dout.sum(0), cache[0].mean(0)), dbias  # summed before multiplying


def linear_with_dbias_a_mean(dout, cache):
    dx, dweight, dbias = linear_backward(dout, cache)
    return dx, dweight, dbias / len(dout)


def cross_entropy_without_dloss(dloss, cache):
    return cross_entropy_backward(1.0, cache)


# %% [markdown] predict
# How many of the five does a check through `out.sum()` reject?
# - 1
# - 3
# - 5
# <!-- answer: caught["ones, 2 rows"] -->
# If every entry of `dout` is 1, then forgetting `dout` costs nothing and all rows look alike. Random numbers for `dout`
# catch all five. But look at the last column: with *one* row a mean is a sum, and again most pass. A check sees what it
# looks at: random `dout`, several rows, sizes that all differ.


# %% Three checks on five mistakes
def head_forward(x, weight):
    return cross_entropy_forward(x, weight, targets[: len(x)], row_weights[: len(x)])


suspects = [
    (gelu_forward, gelu_without_dout, [z]),
    (linear_forward, linear_with_dx_of_the_mean_row, [x, weight, bias]),
    (linear_forward, linear_with_dweight_of_mean_rows, [x, weight, bias]),
    (linear_forward, linear_with_dbias_a_mean, [x, weight, bias]),
    (head_forward, cross_entropy_without_dloss, [a, head]),
]
rng = np.random.default_rng(0)
normal = rng.standard_normal
checks = {"ones, 2 rows": (np.ones, 2), "random, 2 rows": (normal, 2), "random, 1 row": (normal, 1)}
caught = dict.fromkeys(checks, 0)
print(f"{'dout is':34}", *(f"{check:16}" for check in checks))
for forward, backward, (first, *others) in suspects:  # @skip
    verdicts = []
    for check, (draw, rows) in checks.items():
        dout = draw(np.shape(forward(first[:rows], *others)[0]))
        rejected = not gradient(forward, backward, first[:rows], *others, dout=dout).ok
        caught[check] += rejected
        verdicts.append("rejected" if rejected else "PASSES")
    print(f"{backward.__name__:34}", *(f"{verdict:16}" for verdict in verdicts))

# %% [markdown]
# ## What stands
# The last cell of a lesson asserts what the lesson said. Change a number above and see which claim falls.

# %% The claims
assert np.isclose(slope, dweight[0, 0], atol=1e-3)
assert np.allclose(dlogits.sum(-1), 0)
assert all(g.shape == v.shape for g, v in zip((dx, dweight, dbias, dhead), (x, weight, bias, head)))
assert np.allclose(dbias, dz.sum(0)) and np.allclose(dweight, dz.T @ x)
assert abs(loss_after(1e-4) - (loss - 1e-4 * slope_downhill)) < 1e-6
assert min(complex_error.values()) < 1e-14 < min(central_error.values())
assert report.ok
assert caught["random, 2 rows"] == len(suspects) > caught["random, 1 row"]

# %% [markdown]
# ## Your turn
# ```
# scratchgpt homework start linear
# scratchgpt homework start gelu
# scratchgpt homework start cross_entropy
# ```
# Each gives you a file with a signature and the shapes; `scratchgpt homework check FILE` compares every gradient with
# the numeric one and, where it can, names the mistake. In `gelu`, the tanh form asks for the chain rule once more:
# `tanh′(u) = 1 − tanh²(u)`, times `u′`. In `cross_entropy`, mind the rows whose weight is 0: their target may be any
# number at all, and they must send back nothing.
#
# The ids in `targets` fell from the sky here. Lesson 2 makes them from text.
