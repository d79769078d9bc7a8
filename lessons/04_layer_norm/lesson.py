# %% [markdown]
# # Layer norm, residuals, initialization: how a deep network keeps its size
# About 20 minutes. You need lesson 1: `dout` in, one gradient per input out.
#
# A GPT is deep, and depth multiplies. If every layer halves the signal, 24 layers leave 0.5²⁴ of it, less than a
# ten-millionth, and as little of the gradient on its way back. Three inventions keep the numbers near 1: layer norm,
# the residual connection, and initial weights that fit both. This lesson takes layer norm apart by hand, then measures
# all three.
#
# ## 1. Forward
# Per row: subtract the mean, divide by the standard deviation, then scale and shift by learned numbers (Ba, Kiros &
# Hinton 2016, eq. 3-4).
#
# - `x̂ = (x − mean) · rstd`, where `rstd = 1/√(var + eps)` and `var` is the mean of `(x − mean)²`: divided by C, not by
#   C − 1
# - `out = x̂ · weight + bias`
#
# Every row is on its own: no other position, no other text of the batch enters. The rows here are chosen so that their
# standard deviation is 2.

# %% Layer norm of two rows
import math

import numpy as np

from scratchgpt.check import gradient
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.gpt import GPTConfig, parameter_spec
from scratchgpt.ops.reference import (
    dropout_backward,
    dropout_forward,
    gelu_backward,
    gelu_forward,
    layer_norm_backward,
    layer_norm_forward,
    linear_backward,
    linear_forward,
)

x = np.array([[2.0, 4.0, 5.0, 6.0, 8.0], [5.0, 0.0, 0.0, 0.0, 0.0]])  # (2, 5)
weight, bias = np.ones(5), np.zeros(5)  # as every layer norm starts
out, cache = layer_norm_forward(x, weight, bias)
print(Heat(x, title="x"))
print(Heat(out, title="layer norm of x: mean 0, standard deviation 1"))

# %% [markdown] predict
# Every number of the first row is multiplied by 10, then 3 is added. What does layer norm make of it?
# - 10 times the numbers of before
# - the numbers of before, plus 3
# - the numbers of before
# <!-- answer: "the numbers of before" if np.abs(changed - out[:1]).max() < 5e-6 else "other numbers" -->
# The shift goes with the mean and the factor with the standard deviation. What remains is the *shape* of the row. (The
# sixth decimal differs because of `eps`, which is there for a row of equal numbers: without it, 0 / 0. A row whose
# variance is no larger than eps is not brought to size 1, as the third line shows.)

# %% What layer norm forgets
changed, _ = layer_norm_forward(x[:1] * 10 + 3, weight, bias)
tiny, _ = layer_norm_forward(x[:1] * 0.001, weight, bias)
three = np.vstack([out[0], changed[0], tiny[0]])
print(Heat(three, rows=["x", "10 x + 3", "x / 1000"], title="layer norm of"))

# %% [markdown]
# ## 2. Backward: three ways from x to the output
# First `dx̂ = dout · weight`. Now move one `x[i]` by 1 (as far as slopes go) and ask how all x̂ move. Times their
# `dx̂`, summed, and with the common factor rstd taken out, each way gives one term; m is the mean over the row:
#
# - **directly**: `x̂[i]` moves by rstd. The term: `dx̂`.
# - **through the mean**: it moves by `1/C`, and every `x̂[j]` by `−rstd / C`. The term: `−m(dx̂)`.
# - **through the variance**: the standard deviation moves by `x̂[i] / C`, and every `x̂[j]` by `−x̂[j] · rstd` times
#   that. The term: `−x̂ · m(dx̂ · x̂)`.
#
# `dx = rstd · ( dx̂ − m(dx̂) − x̂ · m(dx̂ · x̂) )`

# %% [markdown] predict
# `dout` is 1 at the first number of the row and 0 at the four others. How many of the 5 entries of dx are not 0?
# - 1
# - 4
# - 5
# <!-- answer: int((np.abs(total) > 1e-9).sum()) -->
# One output depends on all five inputs, so all five are told. The direct way reaches one of them, the mean reaches all.
# That is what makes layer norm harder than an element-wise op.

# %% The three terms
dout = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])  # (1, 5)
row_out, row_cache = layer_norm_forward(x[:1], weight, bias)
xhat, rstd, _ = row_cache
dxhat = dout * weight  # (1, 5)
direct = dxhat
through_mean = -np.ones(5) * dxhat.mean(-1, keepdims=True)
through_variance = -xhat * (dxhat * xhat).mean(-1, keepdims=True)
total = direct + through_mean + through_variance  # (1, 5)
terms = np.vstack([direct, through_mean, through_variance, total])
print(Heat(terms, rows=["direct", "mean", "variance", "sum"], title="dx / rstd, term by term"))
dx, dweight, dbias = layer_norm_backward(dout, row_cache)
print(Heat(dx, title="dx of the library: the sum, times rstd"))
assert np.allclose(dx, total * rstd)

# %% [markdown]
# `weight` and `bias` serve all rows, so theirs are sums over rows: `dweight = Σ dout · x̂`, `dbias = Σ dout`.
#
# ## 3. Two things dx can never do
# Adding a number to a whole row changes nothing, so the loss is flat along (1, 1, 1, 1, 1): **each row of dx sums to
# 0**. Scaling the row's deviations changes nothing either, so **each row of dx is orthogonal to x̂** (up to eps). The
# two subtracted terms do just this: they take out of dx̂ its component along ones and its component along x̂. Layer
# norm's backward is a *projection*, then a division by the standard deviation. As a matrix, which the op never builds:

# %% The projection
ones = np.ones((1, 5))
projection = np.eye(5) - ones.T @ ones / 5 - xhat.T @ xhat / 5  # (5, 5)
print(Heat(projection, title="I − 1 1ᵀ/C − x̂ x̂ᵀ/C"))
print(f"sum of dx {dx.sum():.1e}, dx · x̂ {(dx * xhat).sum():.1e}")
assert np.allclose(dx, dout @ projection * rstd)
assert np.allclose(projection @ projection, projection, atol=1e-5)  # twice is no more than once

# %% [markdown]
# Both facts are quick tests of your own backward. How good are they? Here are four wrong ones.


# %% Four mistakes, in dx
def no_mean_term(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    return (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)) * rstd


def no_variance_term(dout, cache):
    _, rstd, weight = cache
    dxhat = dout * weight
    return (dxhat - dxhat.mean(-1, keepdims=True)) * rstd


def no_weight(dout, cache):
    xhat, rstd, weight = cache
    return layer_norm_backward(dout, (xhat, rstd, np.ones_like(weight)))[0]


def no_rstd(dout, cache):
    _, rstd, _ = cache
    return layer_norm_backward(dout, cache)[0] / rstd


# %% [markdown] predict
# `no_weight` forgets `dx̂ = dout · weight` and uses dout. Which of the two facts gives it away?
# - the sum of each row
# - the product with x̂
# - both
# - neither
# <!-- answer: {"yes yes": "neither", "no no": "both"}.get(facts["no_weight"], "one of them") -->
# Whatever is projected ends up in the same plane: the facts see a broken projection, not a wrong thing projected. Only
# the numeric gradient of lesson 1 sees all four. It needs weights that are not all 1, and a dout that is not: with
# `weight = 1` and `out.sum()` the true dx is 0, and a backward that returns zeros passes.

# %% What each test sees
gamma = np.array([1.0, 2.0, -1.0, 0.5, 3.0])
upstream = np.random.default_rng(0).standard_normal(x.shape)  # (2, 5)


def right(dout, cache):
    return layer_norm_backward(dout, cache)[0]


def norm_of(x):
    return layer_norm_forward(x, gamma, bias)


facts, accepted = {}, {}
print(f"{'':18}{'rows sum to 0':15}{'orthogonal to x̂':18}numeric gradient")
for each in (right, no_mean_term, no_variance_term, no_weight, no_rstd):  # @skip
    _, each_cache = norm_of(x)
    each_dx = each(upstream, each_cache)
    zeros = [each_dx.sum(-1), (each_dx * each_cache[0]).sum(-1)]
    facts[each.__name__] = " ".join("yes" if np.allclose(z, 0, atol=1e-4) else "no" for z in zeros)
    accepted[each.__name__] = gradient(norm_of, each, x, dout=upstream).ok
    sums, products = facts[each.__name__].split()
    print(f"{each.__name__:18}{sums:15}{products:18}{'ok' if accepted[each.__name__] else 'WRONG'}")
vacuous = layer_norm_backward(np.ones_like(x), cache)[0]  # weight 1, dout 1
print(f"largest entry of the right dx under out.sum() and weight = 1: {np.abs(vacuous).max():.1e}")

# %% [markdown]
# ## 4. Why: the size of a signal, layer by layer
# Now depth. Take 24 layers of `h = gelu(h) Wᵀ`, width 64, weights normal with standard deviation σ. Each output is a
# sum of C products, and variances add: `var(out) = C · σ² · mean(gelu(h)²)`. The size is kept only if σ² is about
# `1 / C`, with a correction for what the nonlinearity cuts off. Four choices of σ:
#
# - **0.02**, whatever the width (Radford et al. 2018, section 4.1)
# - **Xavier** `√(1/C)` for a square matrix (Glorot & Bengio 2010, eq. 12)
# - **He** `√(2/C)`: a rectifier lets half of the squares pass, so twice the variance (He et al. 2015, eq. 10)
# - **He, scaled** by `1/√L` for L layers (Radford et al. 2019, section 2.3); its use comes with the residuals

# %% A stack of layers, forward and backward
C, L, N = 64, 24, 16  # width, layers, rows
he = math.sqrt(2 / C)
inits = {"0.02": 0.02, "Xavier": math.sqrt(1 / C), "He": he, "He, scaled": he / math.sqrt(L)}
rng = np.random.default_rng(0)
draws = rng.standard_normal((L, C, C))  # the weights, before σ
start, end = rng.standard_normal((2, N, C))  # what comes in below, and the gradient from above


def layer_forward(h, w, residual, norm):
    branch, norm_cache = layer_norm_forward(h, np.ones(C), np.zeros(C)) if norm else (h, None)
    branch, gelu_cache = gelu_forward(branch)
    branch, linear_cache = linear_forward(branch, w)
    return h + branch if residual else branch, (norm_cache, gelu_cache, linear_cache)


def layer_backward(dout, cache, residual, norm):
    norm_cache, gelu_cache, linear_cache = cache
    dbranch = gelu_backward(linear_backward(dout, linear_cache)[0], gelu_cache)
    if norm:
        dbranch = layer_norm_backward(dbranch, norm_cache)[0]
    return dout + dbranch if residual else dbranch


def size(a):
    return math.sqrt((a * a).mean())


def stack(sigma, residual, norm):
    h, caches, signal = start, [], [size(start)]
    for draw in draws:
        h, layer_cache = layer_forward(h, sigma * draw, residual, norm)
        caches.append(layer_cache)
        signal.append(size(h))
    dh, gradients = end, [size(end)]
    for layer_cache in reversed(caches):
        dh = layer_backward(dh, layer_cache, residual, norm)
        gradients.insert(0, size(dh))
    return np.log10(signal), np.log10(gradients), h


def by_depth(residual, norm):
    runs = {name: stack(sigma, residual, norm) for name, sigma in inits.items()}
    signal = {name: run[0] for name, run in runs.items()}
    gradients = {name: run[1] for name, run in runs.items()}
    return signal, gradients


def draw_sizes(title, curves):
    return Curves(curves, title=title, xlabel="layer", ylabel="log₁₀ of the size")


# %% [markdown] predict
# The input has size 1. What is left of it after 24 plain layers, no norm, no residual, with σ = 0.02?
# - about 1
# - about 1 / 100
# - about 10 to the minus 9
# - less than 10 to the minus 20
# <!-- answer: "less than 10 to the minus 20" if plain["0.02"][-1] < -20 else "about 10 to the minus 9" -->
# Each layer multiplies by `0.02 · √64 · (what GELU lets pass)`, and of a tiny h only half passes GELU. The gradient
# suffers the same on its way down. Compare with the smallest number that 16 bits can hold.

# %% Plain layers
plain, plain_gradients = by_depth(residual=False, norm=False)  # @over
print(draw_sizes("Signal, plain layers", plain))
print(draw_sizes("Gradient, plain layers", plain_gradients))
print(f"float16 ends at {np.finfo(np.float16).smallest_subnormal:.0e}")

# %% [markdown]
# He comes closest, and still sinks: the 2 was made for the rectifier, and GELU lets a little less through, ever less as
# the signal shrinks. A larger σ would make it explode, as the slider below will show: a pencil on its tip.
#
# ## 5. The residual connection
# Let each layer *add* to what is there: `h = h + f(h)` (He et al. 2016). Backward, the sum copies the gradient: one
# copy goes straight down, untouched by any weight, the other through f: `dh = dout + f_backward(dout)`. Forget the
# plus, and the short way is closed.

# %% [markdown] predict
# 24 residual layers with He weights, still no norm. The signal...
# - stays near 1
# - grows about like √depth
# - grows exponentially
# <!-- answer: "grows exponentially" if summed["He"][-1] - summed["He"][12] > 1 else "grows about like √depth" -->
# f(h) is about as large as h and points elsewhere, so the variance nearly doubles at every layer. Now the scaled
# initialization makes sense: with `1/√L` in each, L branches add up to about as much as the one input.

# %% Residual layers
summed, summed_gradients = by_depth(residual=True, norm=False)  # @over
print(draw_sizes("Signal, residual layers", summed))
print(draw_sizes("Gradient, residual layers", summed_gradients))

# %% [markdown]
# ## 6. Residual and norm together
# `h = h + f(norm(h))` is the pre-norm block of GPT-2 (Radford et al. 2019; studied by Xiong et al. 2020). However large
# h has become, f sees size 1 and so adds the *same* amount at every layer: the variance grows linearly, the size like
# √depth, whatever σ.

# %% Residual layers with norm
both, both_gradients = by_depth(residual=True, norm=True)  # @over
print(draw_sizes("Signal, residual and norm", both))
print(draw_sizes("Gradient, residual and norm", both_gradients))

# %% [markdown]
# Look at the scale of the axis: all four stay within one power of 10, signal and gradient. Hence the remark in the GPT
# paper that, "since layernorm is used extensively", a simple 0.02 was sufficient (Radford et al. 2018, section 4.1).
#
# Would the norm have done it alone? It keeps the size. But size is not content. Send 16 different rows in and ask how
# alike they come out: the mean |cosine| between two rows, 0 for unrelated ones, 1 for copies. The slider sets σ to
# `√(gain / C)`; He is gain 2.

# %% Size and content, by gain
gain = 2.0  # @param {type:"slider", min:0.5, max:4.0, step:0.5}
kinds = {"plain": (False, False), "norm": (False, True), "residual": (True, False), "both": (True, True)}
runs = {kind: stack(math.sqrt(gain / C), *switches) for kind, switches in kinds.items()}  # @over


def likeness(h):
    rows = h / np.linalg.norm(h, axis=-1, keepdims=True)
    return np.abs(rows @ rows.T)[~np.eye(N, dtype=bool)].mean()


sizes = {kind: signal for kind, (signal, _, _) in runs.items()}
print(draw_sizes(f"Signal, gain {gain}", sizes))
alike = {kind: likeness(h) for kind, (_, _, h) in runs.items()}  # @over
before = likeness(start)  # @over
print(Bars({"input": before} | alike, title="How alike different rows have become"))

# %% [markdown]
# Plain layers explode or vanish. The norm alone keeps the size of the rows and lets them grow alike. With both, every
# gain will do, and rows that differ stay different: **the norm keeps the size, the residual the content**.
#
# ## 7. What the library does
# A block has two branches, attention and feed-forward, so a GPT of n layers adds up 2n of them. The matrices that write
# into the stream (`mlp.down` is one) are scaled by `1/√(2n)`; unscaled, what random weights have to say would drown the
# token itself. The stream starts at the size of the *embeddings*, which is far below 1, while each branch answers with
# size 1, thanks to its norm; so they are scaled by the embeddings' size too.

# %% The standard deviations in a GPT
names = ["wte", "blocks.0.mlp.up.weight", "blocks.0.mlp.down.weight"]
for n_layer in (4, 12, 48):  # @skip
    spec = parameter_spec(GPTConfig(n_layer=n_layer, n_embd=768))
    print(f"{n_layer:2} layers:", ", ".join(f"{name} {spec[name][1]:.1e}" for name in names))
print(f"0.02 is √(1/C) at width {1 / 0.02**2:.0f}: it suits wide models")

# %% [markdown]
# ## 8. Dropout
# The last thing on a branch, before it is added: set each number to 0 with probability p, and multiply the others by
# `1/(1 − p)`, so that the expected value stays (Srivastava et al. 2014). Thanks to that factor, evaluation simply
# leaves dropout out. Here the mask is a function of a key, so it can be drawn again: number i is kept if draw i of
# `counter_hash`, a whole number below 2³², is at least `p · 2³²`.

# %% [markdown] predict
# What does the backward do?
# - passes dout through unchanged
# - applies a new random mask
# - applies the same mask
# - applies the same mask and the same factor
# <!-- answer: "applies the same mask and the same factor" if (ddropped == dropped).all() else "something else" -->
# `out = x · keep · factor` is a product with constants, so the gradient is multiplied by the same constants. A new mask
# would send gradient through numbers that never reached the loss; so the mask is in the cache.

# %% Dropout, forward and backward
dropped, dropout_cache = dropout_forward(np.ones((2, 8)), 0.25, key=3)
ddropped = dropout_backward(np.ones((2, 8)), dropout_cache)
print(Heat(dropped, title="dropout of ones, p = 0.25"))
print(Heat(ddropped, title="its gradient, for dout = ones"))
means = [dropout_forward(np.ones(64), 0.25, key)[0].mean() for key in range(200)]  # @over
average = np.mean(means)
print(f"average over 200 masks: {average:.3f}")

# %% The claims
assert np.allclose(out.mean(-1), 0) and np.allclose(out.std(-1), 1, atol=1e-5)
assert np.abs(changed - out[0]).max() < 5e-6 < np.abs(tiny - out[0]).max()
assert abs(dx.sum()) < 1e-12 and abs((dx * xhat).sum()) < 1e-5
assert [name for name, ok in accepted.items() if ok] == ["right"]
assert facts["no_weight"] == facts["no_rstd"] == "yes yes" and np.abs(vacuous).max() < 1e-12
assert plain["0.02"][-1] < -20 and plain_gradients["0.02"][0] < -20
assert summed["He"][-1] > 3 and abs(summed["He, scaled"][-1]) < 0.5
assert all(np.abs(curve).max() < 1 for curve in [*both.values(), *both_gradients.values()])
assert alike["both"] < alike["norm"] and abs(sizes["both"][-1]) < 1
assert abs(average - 1) < 0.02

# %% [markdown]
# ## Your turn
# ```
# scratchgpt homework start layer_norm
# scratchgpt homework start rms_norm
# scratchgpt homework start dropout
# ```
# For layer norm, write the forward first, then dx with its three terms on three lines. If the check says "the mean term
# is missing", you now know what you will see: rows that do not sum to 0. RMSNorm, which Llama and T5 use, subtracts no
# mean: its dx has two terms, and another sum is 0. The dropout exercise ends in a residual connection: the gradient
# takes both ways, and only one of them is masked.
#
# You have the parts: attention from lesson 3, and from here the norm, the residual and the weights to start with.
# Lesson 5 puts them together and trains a GPT.
