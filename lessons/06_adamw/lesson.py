# %% [markdown]
# # AdamW, schedules, clipping, accumulation
#
# *About 15 minutes. You need gradients (lesson 1) and the training loop of lesson 5.*
#
# Backward says in which direction the loss falls. How far to go, and for each of a million parameters, is the
# optimizer's question. This lesson takes the line `optimizer.step(...)` apart: Adam, the W, the schedule, the clipping,
# and how to make a large batch out of small ones.
#
# ## 1. A bowl that is steep one way and flat the other
#
# Two parameters, and the loss `f(w) = ½ (w₁² + κ w₂²)`: a bowl with curvature 1 along one axis and κ along the other.
# Gradient descent takes `w ← w − lr·g`. Along an axis of curvature a that multiplies w by `1 − lr·a`, which shrinks
# only if `lr < 2/a`. So the steep axis forbids a large rate, and the flat one crawls at the small rate that is left.
# With the best constant rate, `2/(1 + κ)`, the number of steps grows like κ. Momentum, which adds a share of the last
# step to the next, needs about √κ (Polyak 1964).
#
# *Adam* (Kingma & Ba 2015) keeps two running means for every parameter, of its gradient and of its square:
#
# `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`
#
# and steps by `lr · m̂ / (√v̂ + ε)`, where the hats correct the start (section 2). Divide by √v, and the scale of the
# gradient cancels: each parameter gets steps of about `lr`, whether its gradients are large or small.

# %% three optimizers
import math

import numpy as np

from scratchgpt import GPT, AdamW, BPETokenizer, GPTConfig
from scratchgpt.data import Batches, load_text, split_text
from scratchgpt.distributed import Shards
from scratchgpt.evaluation import evaluate
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.ops.reference import adamw_step, global_norm
from scratchgpt.optim import cosine_schedule

adam = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}


def bowl(kappa, degrees=0):
    """A, with curvatures 1 and kappa and its axes turned, and a start."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    return turn @ np.diag([1.0, kappa]) @ turn.T, turn @ np.ones(2)


def descend(rule, kappa, degrees=0, steps=600):
    """The losses ½ wᵀ A w on the way down; the first two rules at their best."""
    (A, w), root = bowl(kappa, degrees), math.sqrt(kappa)
    last, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
    losses = []
    for t in range(1, steps + 1):
        losses.append(0.5 * w @ A @ w)
        g = A @ w
        if rule == "gradient descent":
            w = w - 2 / (1 + kappa) * g
        elif rule == "momentum":
            share, lr = ((root - 1) / (root + 1)) ** 2, (2 / (root + 1)) ** 2
            last = share * last - lr * g
            w = w + last
        else:
            adamw_step(w, g, m, v, t, lr=0.1, **adam)
    return losses


def steps_to(losses, target=1e-6):  # @over
    """How many steps until the loss stays below target."""
    return int(np.flatnonzero(np.array(losses) >= target)[-1]) + 1


rules = ["gradient descent", "momentum", "Adam"]
kappas = [1, 10, 100]
needed = [[steps_to(descend(rule, k)) for k in kappas] for rule in rules]  # @over
needed = np.array(needed)
cols = [f"κ = {kappa}" for kappa in kappas]
print(Heat(needed, rules, cols, title="Steps until the loss is below 1e-6"))

# %% [markdown]
# Adam is not the fastest here: the others were given the best rate for each bowl, which nobody knows for a real model.
# Adam had the same rate, 0.1, for all three, and took about the same number of steps. That is what it is for.
#
# A transformer has the same trouble, on more axes. The typical gradient of each tensor in a fresh small GPT:

# %% gradients of a GPT differ by orders of magnitude
train_text, val_text = split_text(load_text("plays"))  # @over
tokenizer = BPETokenizer.train(train_text, vocab_size=300)  # @over
train_ids = tokenizer.encode_array(train_text)  # @over
val_ids = tokenizer.encode_array(val_text)  # @over
config = GPTConfig(vocab_size=300, n_ctx=32, n_layer=2, n_head=2, n_embd=32)
batches = Batches(train_ids, config.n_ctx, rows_per_step=8, seed=0)  # @over
model = GPT(config, seed=0)  # @over
_, cache = model.loss({"input_ids": batches.at(0)})  # @over
model.backward(cache)  # @over
size = {}
for name in model.params.names:  # @skip
    size[name] = float(np.sqrt(np.mean(model.params.grad_of(name) ** 2)))
names = [name for name in sorted(size, key=size.get) if "blocks.1" not in name]
bars = {name: size[name] for name in reversed(names)}  # @over
print(Bars(bars, title="Root mean square of the gradient, without block 1"))
ratio = max(size.values()) / min(size.values())
print(f"the largest is {ratio:,.0f} times the smallest")

# %% [markdown] predict
# Adam scales each parameter for itself. Turn the bowl by 45°, so that its steep direction is no single parameter any
# more, but a mixture of both. What happens to the number of steps that Adam needs at κ = 100?
#
# - it stays about the same
# - it at least doubles
#
# <!-- answer: "it at least doubles" if turned["Adam"] > 2 * straight["Adam"] else "it stays about the same" -->
#
# Gradient descent and momentum do not notice: a turned bowl is the same bowl. Adam sees two parameters with equal
# gradients and has nothing to divide away. It helps as far as the differences lie *between* parameters, as between the
# tensors above. (Optimizers that also turn the axes exist: Shampoo, Gupta et al. 2018.)

# %% turn the bowl
degrees = 0.0  # @param {type:"slider", min:0, max:45, step:22.5}
here = {rule: descend(rule, 100, degrees, steps=300) for rule in rules}  # @over
shown = {rule: np.maximum(here[rule], 1e-12) for rule in rules}  # @over
title = f"Loss at κ = 100, turned by {degrees:g}°"
print(Curves(shown, title=title, xlabel="steps", log=True))
straight = {rule: steps_to(descend(rule, 100)) for rule in rules}  # @over
turned = {rule: steps_to(descend(rule, 100, 45)) for rule in rules}  # @over
print("steps, straight:     ", straight)
print("steps, turned by 45°:", turned)

# %% [markdown]
# ## 2. The first step: bias correction
#
# `m` and `v` start at zero, so at first they are too small: after t steps of a constant gradient g, `m = (1 − β₁ᵗ) g`.
# Adam divides by just that: `m̂ = m / (1 − β₁ᵗ)`, `v̂ = v / (1 − β₂ᵗ)`, with t counted from 1.

# %% [markdown] predict
# Three weights, with gradients 1000, 1 and 0.001. How far does each move at Adam's first step, with lr = 0.1?
#
# - 100, 0.1 and 0.0001: in proportion to the gradient
# - 0.1 each
# - 0.1, 0.05 and 0.01: further where the gradient is larger
#
# <!-- answer: "0.1 each" if np.allclose(w, -0.1, rtol=1e-4) else "not 0.1 each" -->
#
# At t = 1, `m̂ = g` and `v̂ = g²`, so the step is `lr · g/|g|`: the sign of the gradient, nothing else.

# %% three gradients, one step; step into it
g = np.array([1000.0, 1.0, 0.001])
w, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
adamw_step(w, g, m, v, t=1, lr=0.1, **adam)
print("moved by", w)

# %% [markdown]
# Without the correction the first step would be `(1 − β₁)/√(1 − β₂)` times lr. The two errors do not cancel: `v` is the
# slower mean. With β₂ = 0.999 it stays too small for hundreds of steps, each of them too long; with 0.95 the first ones
# are too short.


# %% the first steps without correction
def uncorrected(beta2, steps=200):  # @over
    """Step / lr at a constant gradient, m and v used as they are; β₁ = 0.9."""
    t = np.arange(1, steps + 1)
    return (1 - 0.9**t) / np.sqrt(1 - beta2**t)


slow, quick = uncorrected(0.999), uncorrected(0.95)
curves = {"β₂ = 0.999": slow, "β₂ = 0.95": quick, "corrected": np.ones(200)}
title = "Step / lr at a constant gradient, without bias correction"
print(Curves(curves, title=title, xlabel="updates"))
print(f"β₂ = 0.999: first step {slow[0]:.2f} lr, longest {slow.max():.2f} lr")
print(f"β₂ = 0.95:  first step {quick[0]:.2f} lr, longest {quick.max():.2f} lr")

# %% [markdown]
# Two more mistakes that run: counting t from 0 (then `1 − β⁰ = 0`, and 0/0 is NaN), and ε inside the root, `√(v̂ + ε)`,
# which is the same for large gradients and far too timid for small ones:

# %% epsilon outside and inside the root
small = np.array([1e-2, 1e-4, 1e-6])  # gradients; v̂ = g²
print("g:           ", small)
print("g / (√v̂ + ε):", (small / (np.sqrt(small**2) + 1e-8)).round(3))
print("g / √(v̂ + ε):", (small / np.sqrt(small**2 + 1e-8)).round(3))

# %% [markdown]
# ## 3. The W: decay that stays outside
#
# Weight decay pulls every weight towards 0. One can write it as a penalty `½ λ w²` in the loss, which adds `λ w` to the
# gradient (*L2*), or shrink the weights directly, `w ← (1 − lr·λ) w` (*decoupled*). For gradient descent both are the
# same: `w − lr (g + λ w) = (1 − lr·λ) w − lr·g`. For Adam they are not, because L2's `λ w` goes into m and v and is
# divided by √v̂ (Loshchilov & Hutter 2019).

# %% [markdown] predict
# Three weights start at 1. Their gradients alternate in sign, so that only the decay has a lasting effect, and have
# sizes 10, 0.1 and 0.001. With Adam and **L2**, which weight loses most?
#
# - the one with gradients of 10
# - the one with gradients of 0.001
# - all lose the same
#
# <!-- answer: f"the one with gradients of {sizes[np.argmin(l2)]:g}" -->
#
# Where gradients are large, √v̂ is large, and L2's pull is divided by it: the weights that move most are held least.
# Decoupled, each weight loses the same share, `lr·λ` per step. That is the W in AdamW, and its whole difference.

# %% L2 and decoupled
sizes = np.array([10.0, 0.1, 0.001])
lr, decay, steps = 0.01, 0.1, 200


def decayed(coupled):  # @over
    w, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    for t in range(1, steps + 1):
        g = sizes * (-1) ** t
        if coupled:
            g = g + decay * w
        outside = 0.0 if coupled else decay
        adamw_step(w, g, m, v, t, lr, 0.9, 0.95, 1e-8, weight_decay=outside)
    return w


l2, decoupled = decayed(coupled=True), decayed(coupled=False)
cols = [f"g = ±{g:g}" for g in sizes]
print(Heat([l2, decoupled], ["L2", "decoupled"], cols, "What is left of 1"))
print(f"(1 − lr·λ)²⁰⁰ = {(1 - lr * decay) ** steps:.4f}")

# %% [markdown]
# (The line printed last is what decay alone would leave. The weights lie a little above it: Adam's first steps are
# long, until `±g` has averaged out in m.)
#
# The paper multiplies λ by the schedule alone; here, as in most libraries, it is multiplied by the whole learning rate.
# By custom, only matrices are decayed; biases and the gains of layer norms are not. In this library the matrices stand
# first in one flat array, so that the decay is one slice of it.
#
# ## 4. The learning rate over time
#
# The usual schedule (Radford et al. 2018; Loshchilov & Hutter 2017): a linear *warm-up* to the highest rate, then half
# a *cosine* down to a small one.

# %% [markdown] predict
# 100 updates, 10 of them warm-up, highest rate 1. What should the rate of the very first update be?
#
# - 0
# - 0.1
# - 1
#
# <!-- answer: round(rates[0], 6) -->
#
# Not 0: an update with rate 0 is a batch thrown away. The k-th of n warm-up updates gets k/n. An off-by-one here costs
# one update, an off-by-one at the other end may leave the last rates negative or the cosine unfinished.

# %% warm-up and cosine
rates = [cosine_schedule(step, 1.0, 10, 100) for step in range(100)]  # @over
print(Curves({"learning rate": rates}, xlabel="update"))
print("the first three:", rates[:3], "  the last:", rates[-1])

# %% [markdown]
# **Why warm up?** At the start Adam's `v̂` is a mean of very few squares, and every step is as long as `lr` in each
# coordinate, in a direction that one batch chose (Liu et al. 2020). We need not believe it: a small GPT, a high rate,
# the same batches, with and without.


# %% the same GPT, with and without warm-up
def train(warmup_steps, seed, updates=150):  # @over
    """The loss on held-out text of a small GPT after some updates."""
    model = GPT(config, seed=seed)
    optimizer = AdamW(model.params, model.ops)
    batches = Batches(train_ids, config.n_ctx, rows_per_step=8, seed=seed)
    for step in range(updates):
        model.params.grad.fill(0)
        _, cache = model.loss({"input_ids": batches.at(step)})
        model.backward(cache)
        rate = cosine_schedule(step, 0.01, warmup_steps, updates)
        optimizer.step(rate, max_norm=1.0)
    return evaluate(model, val_ids, max_windows=64).nats_per_token


seeds = 3  # @short 1
cold = [train(0, seed) for seed in range(seeds)]  # @skip
warm = [train(30, seed) for seed in range(seeds)]  # @skip
print("held-out loss after 150 updates, one number per seed")
print("without warm-up:           ", np.round(cold, 2))
print("with 30 updates of warm-up:", np.round(warm, 2))

# %% [markdown]
# **Why go down?** A batch's gradient is the true gradient plus noise. At a constant rate the weights jitter about the
# minimum, in a cloud whose size follows the rate. As the rate falls, the cloud contracts. On the bowl, with noise of
# size 1 on every gradient:


# %% noise
def noisy_descent(schedule, steps=400, runs=20):  # @over
    """The loss on a bowl whose gradients carry noise, a mean over runs."""
    rng = np.random.default_rng(0)
    losses = np.zeros(steps)
    for _ in range(runs):
        A, w = bowl(10)
        m, v = np.zeros(2), np.zeros(2)
        for t in range(steps):
            losses[t] += 0.5 * w @ A @ w / runs
            g = A @ w + rng.standard_normal(2)
            adamw_step(w, g, m, v, t + 1, schedule(t), 0.9, 0.95, 1e-8, 0.0)
    return losses


constant = noisy_descent(lambda step: 0.1)
cosine = noisy_descent(lambda step: cosine_schedule(step, 0.1, 0, 400))
curves = {"constant": constant, "cosine": cosine}
print(Curves(curves, title="Loss, a mean of 20 runs", xlabel="steps", log=True))

# %% [markdown]
# ## 5. Clipping by the global norm
#
# Now and then a batch gives a huge gradient. *Clipping* (Pascanu et al. 2013) scales the whole gradient down when its
# norm, over *all* parameters together, exceeds a bound: `g ← g · min(1, max_norm/‖g‖)`. The direction stays. Clipping
# each element on its own would turn it:

# %% scaled and cut
g = np.array([30.0, 4.0, 0.3])
scaled = g * min(1, 1.0 / global_norm(g))
cut = np.clip(g, -1.0, 1.0)
print(Heat([g, scaled, cut], ["gradient", "scaled to norm 1", "each cut at ±1"]))


def alike(a, b):  # @over
    """The cosine of the angle between two vectors."""
    return float(a @ b / (global_norm(a) * global_norm(b)))


print(f"cosine of the angle to the gradient, scaled: {alike(g, scaled):.3f}")
print(f"cosine of the angle to the gradient, cut:    {alike(g, cut):.3f}")

# %% [markdown] predict
# Adam divides the gradient's scale away anyway. So does one gradient that is 100 times too large do any harm? A weight
# with gradients 1, 1, 1, …, then one of 100, then 1, 1, 1 again, β₁ = 0.9, β₂ = 0.95. Thirty updates after the spike,
# its steps are …
#
# - as long as before
# - longer
# - shorter
#
# <!-- answer: "shorter" if later < 0.9 else "longer" if later > 1.1 else "as long as before" -->
#
# `v` remembers the square of the spike long after `m` has forgotten the spike itself, and until it has faded the weight
# is nearly frozen. The longer v's memory, the longer that lasts: see the print. Clipped, the spike passes unnoticed.


# %% a spike
def step_lengths(max_norm, beta2=0.95, steps=150):  # @over
    """Step / lr of a weight whose gradient is 1, but 100 at update 50."""
    w, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    lengths = []
    for t in range(1, steps + 1):
        g = np.array([100.0 if t == 50 else 1.0])
        before = w.copy()
        scale = min(1.0, max_norm / global_norm(g))
        adamw_step(w, g, m, v, t, 1.0, 0.9, beta2, 1e-8, 0.0, grad_scale=scale)
        lengths.append(float((before - w)[0]))
    return np.array(lengths)


spiked, clipped = step_lengths(math.inf), step_lengths(1.0)
curves = {"as it is": spiked, "clipped at 1": clipped}
print(Curves(curves, title="Step / lr, with a spike at 50", xlabel="updates"))
later = spiked[49 + 30]
for beta2 in (0.95, 0.999):  # @skip
    short_steps = np.flatnonzero(step_lengths(math.inf, beta2, steps=6000) < 0.9)
    updates = short_steps[-1] + 1 - 50
    print(f"β₂ = {beta2}: for {updates:,} updates steps are below 0.9 lr")

# %% [markdown]
# ## 6. Accumulation
#
# When a batch does not fit in memory, run it in *micro-batches*: forward and backward on each, add up the gradients,
# update once. Backward here always *adds* into the gradient, so the gradient is set to zero once per update, not per
# micro-batch.
#
# The trap is the mean. The loss of a batch is the mean over its tokens. Two micro-batches, of 2 and of 6 tokens to
# predict (padding has the label −100 and does not count), have means of their own. Somebody takes the mean of the two
# means.

# %% [markdown] predict
# How much does a token of the short micro-batch weigh then, against one of the long?
#
# - the same
# - 3 times as much
# - a third
#
# <!-- answer: {1: "the same", 3: "3 times as much"}[round(weight_ratio)] -->
#
# In the mean of means, a token of the short one has weight ½ · ½, of the long one ½ · ⅙. The sum of all losses over the
# number of *all* tokens has no such bias. The mistake is not rare: Hugging Face's Trainer, among others, made it until
# October 2024 ("Fixing Gradient Accumulation", Hugging Face's blog).

# %% the mean of means
model = GPT(config, seed=0, dtype="float64")  # @over
rows = batches.at(0)[:2, :7].astype(int)  # 2 rows of 7 tokens, 6 to predict
labels = rows.copy()
labels[0, 3:] = -100  # the first row ends after 3 tokens: 2 to predict
whole = {"input_ids": rows, "labels": labels}
short = {name: array[:1] for name, array in whole.items()}
long = {name: array[1:] for name, array in whole.items()}
n_short, n_long = model.count_targets(short), model.count_targets(long)
weight_ratio = (0.5 / n_short) / (0.5 / n_long)


def loss_and_grad(parts):
    """Sums loss and gradient over (batch, denominator, factor)."""
    model.params.grad.fill(0)
    total = 0.0
    for batch, denominator, factor in parts:
        loss, cache = model.loss(batch, denominator)
        model.backward(cache, scale=factor)
        total += factor * float(loss)
    return total, model.params.grad.copy()


true_loss, true_grad = loss_and_grad([(whole, None, 1.0)])  # @over
two_means = [(short, None, 0.5), (long, None, 0.5)]  # None: its own number
naive_loss, naive_grad = loss_and_grad(two_means)  # @over
n = n_short + n_long
exact_loss, exact_grad = loss_and_grad([(short, n, 1.0), (long, n, 1.0)])  # @over


def off(grad):  # @over
    """How far a gradient is from the whole batch's, relative to its norm."""
    return float(global_norm(grad - true_grad) / global_norm(true_grad))


print(f"tokens to predict: {n_short} and {n_long}")
print(f"the whole batch:  loss {true_loss:.4f}")
naive_error, exact_error = off(naive_grad), off(exact_grad)
print(f"mean of means:    loss {naive_loss:.4f}; gradient {naive_error:.0%} off")
print(f"sums over all {n}:  loss {exact_loss:.4f}; gradient {exact_error:.0e} off")

# %% [markdown]
# Hence `denominator`: every micro-batch divides its sum by the number of tokens in the *whole* step. So a step is a sum
# over shards, and it does not matter whether they run one after another, on two threads or on many machines. What is
# clipped is the sum, once, before the one update.

# %% the library's own step
shards = Shards(model, threads=1)  # @over
shard_loss = float(shards.loss_and_grad([short, long]))  # @over
shard_error = off(model.params.grad)
print(f"Shards:           loss {shard_loss:.4f}; gradient {shard_error:.0e} off")

# %% what this page claimed
assert needed[0, 2] > 5 * needed[0, 1]  # gradient descent: like κ
assert needed[1, 2] < 5 * needed[1, 1]  # momentum: like √κ
assert needed[2].max() < 1.5 * needed[2].min()  # Adam: hardly at all
assert ratio > 100
assert turned["gradient descent"] == straight["gradient descent"]
assert turned["Adam"] > 2 * straight["Adam"]
assert np.allclose(w, -0.1, rtol=1e-4)
assert np.isclose(slow[0], 0.1 / np.sqrt(0.001)) and quick[0] < 1
assert l2[0] > 0.9 and l2[2] < 0.1
assert np.allclose(decoupled, (1 - lr * decay) ** steps, atol=0.02)
assert rates[0] == 0.1 and abs(rates[-1]) < 1e-12
assert max(warm) < min(cold)
assert cosine[-20:].mean() < constant[-20:].mean() / 2
assert np.isclose(alike(g, scaled), 1) and alike(g, cut) < 0.9
assert later < 0.5 and clipped.min() > 0.99
assert exact_error < 1e-12 < 0.01 < naive_error
assert np.isclose(shard_loss, true_loss) and shard_error < 1e-12

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start adamw`: one update, in place. Have in mind: m and v first, t from 1, ε outside the root,
#   and the decay outside m and v.
# - `scratchgpt homework start accumulation`: several micro-batches of unequal size, one exact gradient.
#
# The settings of GPT-3, for comparison (Brown et al. 2020, appendix B): β₁ 0.9, β₂ 0.95, ε 1e-8, decay 0.1, clipping at
# a global norm of 1, warm-up, and a cosine down to a tenth of the highest rate. Each of them is now a thing you have
# seen break.
#
# That is a whole pretraining, from bytes to a trained model, with nothing left unexplained. `scratchgpt train` runs it;
# `scratchgpt homework list` has the parts that you have not yet written yourself.
