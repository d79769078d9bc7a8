# %% [markdown]
# # Mixture of experts: more parameters, the same work
#
# *About 20 minutes. You need the softmax and its gradient (lesson 3), and the feed-forward part of a block (lesson 5).*
#
# Two thirds of a GPT's blocks are feed-forward, and every token passes through all of it. A *mixture of experts* puts
# several feed-forwards side by side, the experts, and lets a small *router* send each token to a few of them (Shazeer
# et al. 2017). The model has more parameters; a token costs what it cost before.
#
# That is the whole idea. The rest is trouble: a choice has no derivative, and left to itself the router may send most
# tokens to the same few experts. By the end you can route by hand, derive the loss that spreads the load, have seen a
# router collapse and seen it prevented, and can read “671 billion parameters, 37 billion active”.
#
# ## 1. Routing by hand
#
# Five words, and two numbers for each, as in lesson 3: how much *noun*, how much *verb*. `record` may be either. There
# are four experts. The router has one row for each, and scores a word by a dot product with it.

# %% scores
from types import SimpleNamespace

import numpy as np

from scratchgpt import GPT, AdamW, BPETokenizer, GPTConfig, blocks
from scratchgpt.check import gradient
from scratchgpt.data import Batches, load_text, split_text
from scratchgpt.evaluation import evaluate
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.gpt import count_parameters
from scratchgpt.models.moe import MoEConfig
from scratchgpt.models.presets import SHAPES
from scratchgpt.ops import table, traced
from scratchgpt.ops.reference import (
    choose_experts,
    gate_backward,
    gate_forward,
    gelu_forward,
    load_balance_backward,
    load_balance_forward,
    moved_bias,
    softmax_backward,
    softmax_forward,
)
from scratchgpt.optim import cosine_schedule

words = ["the", "cat", "sat", "down", "record"]
x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 1.0], [1.5, 1.0]])  # (N=5, C=2)
experts = ["nouns", "verbs", "both", "neither"]
router = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [-1.0, -1.0]])  # (E=4, C)
logits = x @ router.T  # (N, E)
scores, scores_cache = softmax_forward(logits)
print(Heat(scores, words, experts, title="scores: a softmax over the experts"))

# %% [markdown]
# Each word goes to the k = 2 experts with the highest scores, and takes their answers in proportion to their scores,
# *renormalised* so that the two sum to 1 (Jiang et al. 2024, section 2.1).

# %% [markdown] predict
# Mixtral's paper writes it the other way round: first choose the k largest *logits*, then a softmax over these alone.
# How do the weights differ from ours?
#
# - not at all
# - they are more even
# - they are less even
#
# <!-- answer: "not at all" if np.allclose(weights, other_way) else "they differ" -->
#
# A softmax is `exp(z)` divided by a sum. Dividing once more by the sum over the chosen cancels the first sum: what
# stays is `exp(z)` over the sum of the chosen ones.

# %% the two best
chosen = choose_experts(scores, k=2)  # (N, k): numbers of experts, the best first
weights, gate_cache = gate_forward(scores, chosen)  # (N, k), every row sums to 1
other_way, _ = softmax_forward(np.take_along_axis(logits, chosen, 1))
for word, which, weight in zip(words, chosen, weights):  # @skip
    first, second = (f"{experts[e]} {w:.3f}" for e, w in zip(which, weight))
    print(f"{word:<8}{first:<16}{second}")

# %% [markdown]
# Look at `the`: all its scores are equal, and of equal ones the first is taken. A rule like that is how the first
# experts get every token that nobody has an opinion about.
#
# ## 2. Sort, multiply in groups, put back
#
# One could run every expert on every word and multiply by a weight that is mostly 0. Then nothing is saved. So the
# chosen pairs (word, expert) are *sorted by expert*; each expert multiplies its rows in one product; then the rows go
# back to their words. Step into `moe_forward`; its parts are `dispatch`, `grouped_linear` and `combine`.

# %% [markdown] predict
# 5 words, 4 experts, k = 2. How many rows do the experts multiply in all?
#
# - 5
# - 10
# - 20
#
# <!-- answer: edges[-1] -->
#
# N·k, however many experts there are. That is the promise: parameters grow with E, work with k.

# %% a whole mixture
order, place, edges = blocks.sort_by_expert(chosen, n_experts=4)
print("sorted by expert:", *(words[copy // 2] for copy in order))
print("edges of the four groups:", edges)


def parameters(router, up, down):  # @over
    """What moe_forward calls p: a router, and experts stacked in two arrays."""
    up, down = SimpleNamespace(weight=up), SimpleNamespace(weight=down)
    experts = SimpleNamespace(up=up, down=down)
    return SimpleNamespace(router=SimpleNamespace(weight=router), experts=experts)


ops = table("reference")
config = SimpleNamespace(moe=MoEConfig(n_experts=4, top_k=2), activation="gelu")
rng = np.random.default_rng(0)
up = rng.standard_normal((4, 3, 2))  # (E, inner, C)
down = rng.standard_normal((4, 2, 3))  # (E, C, inner)
p = parameters(router, up, down)
out, cache = blocks.moe_forward(ops, x[None], p, config)  # (B=1, T=5, C)
by_hand = np.zeros_like(x)
for n in range(5):  # @skip
    for e, weight in zip(chosen[n], weights[n]):
        by_hand[n] += weight * (down[e] @ gelu_forward(up[e] @ x[n], "none")[0])
print("word by word it is the same:", np.allclose(out[0], by_hand))

# %% [markdown]
# ## 3. What a choice does to the gradient
#
# Which experts are chosen is a whole number, and does not move when a score moves a little. So the choice gets no
# gradient. It reaches the router through the *weights*: was the expert that was used worth more or less than the other?

# %% [markdown] predict
# A word was sent to two of the four experts, with renormalised weights. How many of its four logits get a gradient?
#
# - 2
# - 3
# - 4
#
# <!-- answer: reached -->
#
# The weights are a softmax over the two chosen logits alone, so the other two have no part in them. An expert that is
# not chosen is not told that it would have done better: nothing in the loss can call it back.

# %% back through the router
dweights = rng.standard_normal(weights.shape)  # from the experts' outputs
dscores = gate_backward(dweights, gate_cache)
dlogits = softmax_backward(dscores, scores_cache).round(12)
reached = int((dlogits[1] != 0).sum())
print(Heat(dlogits, words, experts, title="d loss / d logits"))

# %% [markdown]
# And it gets worse with one expert per token.

# %% [markdown] predict
# k = 1, renormalised. How large is the router's gradient?
#
# - exactly 0
# - half as large as with k = 2
# - as large
#
# <!-- answer: "not 0" if top1.any() else "exactly 0" -->
#
# A single weight that is renormalised is always 1. The router would stay random for ever, and no error would say so.
# The Switch Transformer, which has k = 1, therefore takes the score itself as the weight (Fedus et al. 2022, eq. 2).

# %% one expert per token
best = choose_experts(scores, k=1)
ones, renormalised = gate_forward(scores, best)
plain, as_it_is = gate_forward(scores, best, normalise=False)
top1 = gate_backward(dweights[:, :1], renormalised).round(12)
switch = gate_backward(dweights[:, :1], as_it_is)
print("renormalised weights:", ones[:, 0])
print("largest gradient:    ", abs(top1).max())
print("Switch's weights:    ", plain[:, 0].round(3))
print("largest gradient:    ", abs(switch).max().round(3))

# %% [markdown]
# The function is smooth as long as the choice stays, and jumps where it changes. Walk from `cat` (2, 0) to `sat`
# (0, 2), and look at the first number that comes out:

# %% a walk from cat to sat
t = np.linspace(0, 1, 101)
path = np.stack([2 - 2 * t, 2 * t], 1)  # (101, 2)
walk, _ = blocks.moe_forward(ops, path[None], p, config)  # @over
pairs = choose_experts(path @ router.T, k=2)  # @over
pairs.sort(1)
border = np.flatnonzero((np.diff(pairs, axis=0) != 0).any(1))  # last before one
drawn = walk[0, :, 0].copy()
drawn[border + 1] = np.nan  # lift the pen
title = "One output of the mixture, from cat to sat"
print(Curves({"output": drawn}, x=t, title=title, xlabel="share of the way"))
print("experts:", [[experts[e] for e in pairs[i]] for i in (0, 100)])


def forward(x, router, up, down):  # @over
    out, cache = blocks.moe_forward(ops, x[None], parameters(router, up, down), config)
    return out[0], cache


def backward(dout, cache):  # @over
    g = parameters(np.zeros_like(router), np.zeros_like(up), np.zeros_like(down))
    dx = blocks.moe_backward(ops, dout[None], cache, g)
    return dx[0], g.router.weight, g.experts.up.weight, g.experts.down.weight


report = gradient(forward, backward, (5, 2), (4, 2), (4, 3, 2), (4, 2, 3))
print(report)

# %% [markdown]
# Inside a cell of constant choice the backward is exact; at the borders there is none, and training steps over them
# without noticing. In practice that works.
#
# ## 4. A loss that spreads the load
#
# The experts that are chosen get the gradients, become better, and are chosen more: the rich get richer. So something
# has to push the other way (Fedus et al. 2022, eq. 4-6):
#
# `balance = E Σ_e f_e P_e`
#
# `f_e` is the share of the tokens that expert e was chosen for, `P_e` the mean of its scores. Twenty tokens, k = 1, on
# a router that likes the first expert:

# %% [markdown] predict
# E = 4 and k = 1. What is `balance` when all tokens go to one expert, with a score of 1? And when all four experts get
# the same, with equal scores?
#
# - 1 and 0
# - 4 and 1
# - 1 and 4
#
# <!-- answer: f"{collapsed:g} and {even:g}" -->
#
# Collapsed, f and P are 1 for one expert: E · 1 · 1. Even, they are ¼: E · 4 · ¼ · ¼ = 1; with k experts per token,
# k. So the least is not 0, and a training log that shows a balancing loss of 1 (times its weight) is good news.


# %% three loads
def balance_of(scores):  # @over
    """(balance, cache, f) of one sequence of scores (T, E), k = 1."""
    T, E = scores.shape
    best = choose_experts(scores, k=1)
    each = np.full((1, T), 1 / T)  # all tokens count alike
    loss, cache = load_balance_forward(scores[None], best[None], each)
    return float(loss), cache, np.bincount(best[:, 0], minlength=E) / T


skewed, skewed_cache = softmax_forward(rng.normal([1.5, 0.5, 0, -1], 1, (20, 4)))
collapsed, _, _ = balance_of(np.tile([1.0, 0.0, 0.0, 0.0], (20, 1)))
nearly = 0.25 + 1e-9 * np.eye(4)  # a hair's breadth decides: each is chosen in turn
even, _, _ = balance_of(np.tile(nearly, (5, 1)))
collapsed, even = round(collapsed, 6), round(even, 6)
middle, balance_cache, f = balance_of(skewed)
P = skewed.mean(0)
print(Heat([f, P], ["f", "P"], [f"expert {e}" for e in range(4)], title="skewed"))
print(f"balance: {middle:.3f}; by hand {4 * (f * P).sum():.3f}")

# %% [markdown]
# `f` is a count and has no derivative; the gradient comes through `P` alone: `d balance / d score = E f_e / T`, the
# same for each token. Through the softmax that becomes
#
# `d balance / d logit = (E/T) · p_e (f_e − Σ_j p_j f_j)`
#
# which you know from attention (lesson 3): a logit goes *down* where its expert is busier than the mean of what this
# token would meet, and up where it is idler. Here is the way back that the loss of the task does not have: every expert
# gets some, chosen or not.

# %% its gradient
dprobs = load_balance_backward(1.0, balance_cache)[0]  # (T, E)
dbalance = softmax_backward(dprobs, skewed_cache)
slope = dbalance.sum(0)  # over the 20 tokens
cols = [f"expert {e}" for e in range(4)]
print(Heat([f, slope], ["f", "d balance / d logits, summed"], cols))

# %% [markdown]
# DeepSeek-V3 does without a loss (Wang et al. 2024). A bias per expert is added to the scores *for the choice only*,
# and after each update moved by a fixed step: up for an expert below the mean load, down for one above. Its gradient
# takes nothing away from the task's, because it has none. Both ways, on 400 random tokens, with nothing else to learn:

# %% the two ways
tokens = rng.standard_normal((400, 8)) + 0.5
loss_router = rng.standard_normal((8, 8))  # (E=8, C=8)
fixed = softmax_forward(tokens @ loss_router.T)[0]  # the other way's scores
bias, busiest = np.zeros(8), {"loss": [], "bias": []}
for _ in range(150):  # @skip
    probs, cache_of_probs = softmax_forward(tokens @ loss_router.T)
    _, back, f_now = balance_of(probs)
    busiest["loss"].append(8 * f_now.max())
    dprobs_now = load_balance_backward(1.0, back)[0]
    loss_router -= 0.3 * softmax_backward(dprobs_now, cache_of_probs).T @ tokens
    load = np.bincount(choose_experts(fixed + bias, k=1)[:, 0], minlength=8)
    busiest["bias"].append(8 * load.max() / 400)
    bias = moved_bias(bias, load, speed=0.01)
title = "Busiest expert's load / mean load"
print(Curves(busiest, title=title, lines={"even": 1.0}, xlabel="updates"))

# %% [markdown]
# ## 5. A real one
#
# A GPT of two blocks, on the plays of lesson 5. Each block has E = 8 experts of which a token takes k = 2, half as wide
# as the feed-forward that they replace: the work per token stays. Four models from the same seed, on the same batches:
# the feed-forward as it was, and the mixture without balancing, with the loss (weight 0.01), and with the bias.

# %% four models
V, E = 300, 8
train_text, val_text = split_text(load_text("plays"))  # @over
tokenizer = BPETokenizer.train(train_text, vocab_size=V)  # @over
train_ids = tokenizer.encode_array(train_text)  # @over
val_ids = tokenizer.encode_array(val_text)  # @over
batches = Batches(train_ids, 32, rows_per_step=16, seed=0)  # @over
steps = 300  # @short 60
ways = {
    "dense": None,
    "no balancing": MoEConfig(E, 2, balance=0.0),
    "loss": MoEConfig(E, 2, balance=0.01),
    "bias": MoEConfig(E, 2, scores="sigmoid", balance=0.003),
}
shape = {"vocab_size": V, "n_ctx": 32, "n_layer": 2, "n_head": 2, "n_embd": 48}


def train(moe):  # @over
    """(model, loads (steps, blocks, E)) of a GPT with this mixture."""
    model, loads = GPT(GPTConfig(**shape, moe=moe), seed=0), []
    optimizer = AdamW(model.params, model.ops)
    for step in range(steps):
        model.params.grad.fill(0)
        _, cache = model.loss({"input_ids": batches.at(step)})
        if moe:
            loads.append(model.routed(cache)[0])
        model.backward(cache)
        lr = cosine_schedule(step, 0.005, steps // 20, steps)
        optimizer.step(lr, max_norm=1.0)
        if moe:
            model.move_biases(loads[-1])
    return model, np.array(loads)


# %% [markdown] predict
# In the second block (block 1), how many of the 8 experts end up with less than a quarter of the load that they should
# have, without balancing and with the loss?
#
# - none and none
# - some and none
# - some and some
#
# <!-- answer: f"{some(idle['no balancing'])} and {some(idle['loss'])}" -->
#
# Without balancing a good part of the second block's parameters is hardly used, though each of them takes memory. The
# first block stays more even: what reads tokens directly has more to tell apart.

# %% train them
models, loads = {}, {}
for name, moe in ways.items():  # @skip
    models[name], loads[name] = train(moe)

shares, idle = {}, {}
for name in ("no balancing", "loss", "bias"):
    last = loads[name][-20:].sum(0)  # (blocks, E): tokens of the last 20 updates
    shares[name] = last / last.sum(1, keepdims=True)
    idle[name] = int((shares[name][1] < 0.25 / E).sum())


def some(count):
    return "some" if count else "none"


rows = [f"{name}, block {block}" for name in shares for block in (0, 1)]
every = 100 * np.vstack([np.sort(shares[name], 1)[:, ::-1] for name in shares])
title = f"% of the tokens by expert, the busiest first; evenly {100 / E:g}"
print(Heat(every, rows, [f"{n}." for n in range(1, E + 1)], title=title))
worst = {}
for name in shares:  # @skip
    worst[name] = (E * loads[name].max(2) / loads[name].sum(2)).max(1)
title = "Busiest expert's load / mean load, worse block"
print(Curves(worst, title=title, lines={"even": 1.0}, xlabel="updates"))

# %% [markdown]
# The collapse is there from the first updates on, before anything is learned. The loss catches it at once; the bias
# needs some updates, because it moves by small steps, and then holds the load more exactly than the loss does.
#
# ### What does it cost?
#
# If each expert sits on a machine of its own, all wait for the busiest. If each has room for 1.25 times the mean load
# (a *capacity factor*, Fedus et al. 2022, section 2.2), the tokens beyond it are dropped: they skip the feed-forward.

# %% [markdown] predict
# And the loss on held-out text: how much worse is the model without balancing than the one with the loss?
#
# - more than 0.3 nats per token
# - between 0.1 and 0.3
# - less than 0.1, if at all
#
# <!-- answer: "less than 0.1, if at all" if gap < 0.1 else "more" -->
#
# At this size it makes no difference to speak of, and neither has the mixture gained on the plain feed-forward: a few
# hundred updates are not enough to fill what we have, let alone four times as much. That is worth knowing. A collapse
# does not show in the loss curve; it shows in the loads, so log them. Mixtures pay when training is long: see the
# figures in the papers, not ours.

# %% what it costs
waits, dropped, held_out = {}, {}, {}
for name in shares:
    load = loads[name][-20:]  # (20, blocks, E)
    mean = load.sum(2, keepdims=True) / E
    waits[name] = float((load.max(2) / mean[..., 0]).mean())
    too_many = np.maximum(0, load - 1.25 * mean)
    dropped[name] = 100 * float(too_many.sum() / load.sum())
for name, model in models.items():  # @skip
    result = evaluate(model, val_ids, max_windows=200)
    held_out[name] = round(result.nats_per_token, 4)
gap = held_out["no balancing"] - held_out["loss"]
print(Bars(waits, title="Time of a step / of an even one"))
print(Bars(dropped, title="Tokens dropped at capacity 1.25", unit="%"))
print(Bars(held_out, title="Loss on held-out text", unit="nats per token"))

# %% [markdown]
# ## 6. Who gets what?
#
# “Experts” suggests knights and fools, or verse and prose. Ask the trained model, the one with the balancing loss: for
# each expert of the first block, the tokens that it gets far more often than others do.

# %% the experts' favourites
model = models["loss"]
model.ops, calls = traced(model.ops)  # @over
windows = val_ids[: 400 * 32].reshape(400, 32).astype(int)
_, _ = model.loss({"input_ids": windows})  # @over
model.ops = model.ops.inner
picked = [call.outputs[0] for call in calls if call.op == "choose_experts"]
read = windows[:, :-1].ravel()  # the last of a row only predicts nothing
counts = np.zeros((2, E, V))
for block in (0, 1):  # @skip
    np.add.at(counts[block], (picked[block].ravel(), read.repeat(2)), 1)
often = np.bincount(read, minlength=V) >= 60
for e in range(E):  # @skip
    share = np.where(often, counts[0, e] / np.maximum(1, counts[0].sum(0)), 0)
    favourites = [tokenizer.decode([i]) for i in np.argsort(-share)[:9]]
    print(f"expert {e}: {' '.join(repr(text)[1:-1] for text in favourites)}")
by_token = []
for block in (0, 1):  # @skip
    two = np.sort(counts[block], 0)[-2:].sum()  # choices of a token's favourites
    by_token.append(float(two / counts[block].sum()))
    print(f"block {block}: {by_token[-1]:.0%} of the choices follow from the token")

# %% [markdown]
# Not topics: tokens. The last two lines say how many of the choices fall on the two experts that a token gets most
# often anyway: here an expert is hardly more than a group of tokens. Mixtral's authors looked for topics too, and found
# syntax (Jiang et al. 2024, section 5).
#
# ## 7. Active and total
#
# “Mixtral 8x7B” reads like eight models of 7 billion. Only the feed-forwards are there eight times; attention, norms
# and embeddings once. A shape is enough to count; nothing is allocated.

# %% [markdown] predict
# How many parameters has Mixtral 8x7B in all, and how many take part in one token?
#
# - 56 billion, 7 active
# - 47 billion, 13 active
# - 56 billion, 14 active
#
# <!-- answer: f"{sums['mixtral-8x7b'][0] / 1e9:.0f} billion, {sums['mixtral-8x7b'][1] / 1e9:.0f} active" -->
#
# Memory follows the first number, time per token the second.

# %% count them
sums = {}
for name in ("mixtral-8x7b", "deepseek-v3"):
    family, config = SHAPES[name]
    total = family.count_parameters(config)  # @over
    active = family.count_parameters(config, active=True)  # @over
    sums[name] = (sum(total.values()), sum(active.values()))
    shown = {part: round(count / 1e9, 3) for part, count in total.items()}
    print(Bars(shown, title=f"{name}, in all", unit="billion"))
    share = 100 * sums[name][1] / sums[name][0]
    print(f"{name}: {sums[name][0] / 1e9:.1f} billion, ", end="")
    print(f"{sums[name][1] / 1e9:.1f} active ({share:.1f}%), ", end="")
    read = (sums[name][1] - active["token embedding"]) / 1e9
    print(f"{read:.1f} without the table of tokens")
deepseek = SHAPES["deepseek-v3"][1].moe
print(f"DeepSeek-V3: {deepseek.n_experts} experts of width {deepseek.n_inner:,}, ", end="")
print(f"{deepseek.top_k} for each token, and {deepseek.n_shared} that all take")
ours = GPTConfig(**shape, moe=ways["loss"])
ours_total = sum(count_parameters(ours).values())  # @over
ours_active = sum(count_parameters(ours, active=True).values())  # @over
dense_total = sum(count_parameters(GPTConfig(**shape)).values())  # @over
print(f"ours: {ours_total:,}, {ours_active:,} active; dense {dense_total:,}")

# %% [markdown]
# DeepSeek-V3 went further on the same road: many small experts instead of a few large ones, so that a token can combine
# more of them; one *shared* expert for what every token needs; sigmoid scores, which do not compete; and the bias. In
# the count its first three blocks keep their feed-forwards, and attention is small, because its keys and values come
# from a narrow latent.

# %% what this page claimed
assert np.allclose(weights, other_way) and np.allclose(weights.sum(1), 1)
assert edges[-1] == 5 * 2 and np.allclose(out[0], by_hand)
assert reached == 2
assert (ones == 1).all() and not top1.any() and switch.any()
assert len(border) >= 1 and report.ok
assert (collapsed, even) == (4, 1) and 1 < middle < 4
assert np.isclose(middle, 4 * (f * P).sum())
assert slope[f.argmax()] > 0 > slope[f.argmin()]
assert all(curve[0] > 1.8 and curve[-1] < 1.3 for curve in busiest.values())
assert idle["no balancing"] > 2 > max(idle["loss"], idle["bias"])
assert waits["no balancing"] > 1.3 * max(waits["loss"], waits["bias"])
assert dropped["no balancing"] > 2 * max(dropped["loss"], dropped["bias"])
assert abs(gap) < 0.1
assert min(by_token) > 0.5 > 2 / E
assert abs(sums["mixtral-8x7b"][0] / 46.7e9 - 1) < 0.01  # Jiang et al. 2024
assert abs(sums["deepseek-v3"][0] / 671e9 - 1) < 0.01  # DeepSeek-AI 2024
assert ours_total > 2 * dense_total > 1.8 * ours_active

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start moe_router`: the choice, the weights and their backward, the balancing loss and its
#   gradient. Have in mind: the highest first; the sum over the chosen; no derivative through f.
#
# `scratchgpt train --moe-experts 8` puts mixtures into the GPT, and draws the load of every expert beside the loss.
