# %% [markdown]
# # A GPT from the parts
#
# *About 20 minutes. You need the lessons before: tokens (2), attention (3), layer norm and residuals (4).*
#
# A GPT is a stack of parts that you have met, and a loss: how surprised the model is by the next token. Here we put it
# together, read every shape, count every parameter, train it on nine plays by Shakespeare in well under a minute, and
# let it speak. Each step has a number that one can know *beforehand*; whoever checks those numbers finds most bugs
# before the first long run.
#
# ## 1. Text becomes ids
#
# The tokenizer of lesson 2, with a small vocabulary: the 256 bytes, some merges, and the end-of-text token. The last
# tenth of the text is held out; the model never trains on it.

# %% the plays, in tokens
import math
from dataclasses import replace

import numpy as np

from scratchgpt import GPT, PRESETS, AdamW, BPETokenizer, GPTConfig, generate
from scratchgpt.data import Batches, entropy_lines, load_text, split_text
from scratchgpt.evaluation import evaluate
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.gpt import KVCache, count_parameters
from scratchgpt.ops import WrappedOps, reference, table, traced
from scratchgpt.optim import cosine_schedule

V = 300
train_text, val_text = split_text(load_text("plays"))  # @over
tokenizer = BPETokenizer.train(train_text, vocab_size=V)  # @over
train_ids = tokenizer.encode_array(train_text)  # @over
val_ids = tokenizer.encode_array(val_text)  # @over
line = "O Romeo, Romeo! wherefore art thou Romeo?"
pieces = [tokenizer.decode([i]) for i in tokenizer.encode(line)]  # @over
print(f"{len(train_ids):,} training tokens, {len(val_ids):,} held out")
print("|".join(pieces))

# %% [markdown]
# ## 2. The whole model is a list of calls
#
# In this library blocks and models reach the ops through a table, `ops`, and a table can be wrapped: `traced` gives one
# that records every call. A batch of 2 rows of 9 tokens: each of the first 8 positions predicts the token after it.
# Step into `model.loss` if you like; it is a page of code.

# %% every forward call, in order
config = GPTConfig(vocab_size=V, n_ctx=64, n_layer=2, n_head=2, n_embd=64)
ops, calls = traced(table("reference"))  # @over
model = GPT(config, seed=0, ops=ops)  # @over
two_rows = {"input_ids": train_ids[:18].reshape(2, 9)}
loss, cache = model.loss(two_rows)
for call in calls:  # @skip
    print(f"{call.place:<20}{call.op:<24}{call.outputs[0].shape}")

# %% [markdown]
# Read it from the top. `(2, 8, 64)` is (B, T, C): the *residual stream*, a vector per token, which every block reads
# and adds to. In a block: layer norm, one linear map for q, k and v at once (3C), attention in 2 heads of 32, a map
# back; layer norm, up to 4C, GELU, down to C. The residual additions are plain sums, so they are no calls. At the end a
# last layer norm and the head, which is fused with the loss: the logits `(16, 300)` exist only inside it. This is GPT-2
# (Radford et al. 2019), in small: its norms stand before the parts, where GPT-1 had them behind.

# %% [markdown] predict
# In how many of these calls does a position learn anything about *another* position?
#
# - 0
# - 1
# - 2
# - all of them
#
# <!-- answer: len(mixing) -->
#
# Attention alone, once per block. Everything else treats each of the 16 tokens by itself. The page found out by trying:
# it called every op again with position 0 of its inputs changed, and looked whether the output moved anywhere else.


# %% which ops mix positions
def mixes(call):
    """Does the output change elsewhere when position 0 of the inputs does?"""
    changed = dict(call.args)
    for name, value in call.args.items():
        if np.shape(value)[:2] == (2, 8):
            changed[name] = value.copy()
            changed[name][:, 0] += 1
    out = call.function(**changed)[0]
    return out.ndim > 2 and bool((out != call.outputs[0])[:, 1:].any())


mixing = [call.place for call in calls if mixes(call)]  # @over
print("positions meet in:", mixing)

# %% [markdown]
# ## 3. Count the parameters
#
# Per block, attention has 4C² weights (q, k, v and the map back), the feed-forward part 8C² (up to 4C and down), so a
# model has about 12 L C². To that come V C for the tokens, n_ctx C for the positions, and biases and norms, which
# hardly count. The output head is the token embedding once more, *tied* (Press & Wolf 2017): no new parameters.

# %% [markdown] predict
# GPT-3 (96 blocks, C = 12,288, 50,257 tokens): where do most of its parameters sit?
#
# - attention
# - feed-forward
# - token embedding
#
# <!-- answer: max(gpt3, key=gpt3.get) -->
#
# Two thirds of each block are feed-forward. The embedding, which is a good part of our small model, has become a
# rounding error: it grows with C, the blocks with C².

# %% ours and GPT-3
ours = count_parameters(config)  # @over
gpt3 = count_parameters(PRESETS["gpt3"])  # @over
L, C = config.n_layer, config.n_embd
by_hand = 12 * L * C * C + V * C + config.n_ctx * C
by_hand += 13 * L * C + 2 * C  # biases and norms
print(f"ours: {sum(ours.values()):,} parameters; by hand {by_hand:,}")
print(f"GPT-3: {sum(gpt3.values()) / 1e9:.1f} billion")
for name, counts in {"Ours": ours, "GPT-3": gpt3}.items():
    total = sum(counts.values())
    shares = {part: 100 * n / total for part, n in counts.items()}  # @over
    print(Bars(shares, title=name, unit="%"))

# %% [markdown]
# ## 4. Before the first update
#
# The loss is the mean of −ln p(next token): cross-entropy, in *nats* per token.

# %% [markdown] predict
# An untrained model knows nothing. Which loss should it have on our 300 tokens?
#
# - about 1.0, the largest probability there is
# - about 5.7, which is ln 300
# - about 300, one per token
#
# <!-- answer: "about 5.7, which is ln 300" if abs(start - math.log(V)) < 0.1 else "another" -->
#
# Knowing nothing is to give each token 1/V, and −ln(1/V) = ln V. A loss far above it at step 0 says that the model is
# sure of wrong things (weights too large); one clearly below it says that the answer leaks in (a mask, or targets that
# are not shifted).

# %% the loss at step 0
start = evaluate(model, val_ids, max_windows=8).nats_per_token  # @skip
loud = GPT(config, seed=0)  # @over
loud.params["wte"][...] *= 10  # somebody forgot to scale the embedding
loud_start = evaluate(loud, val_ids, max_windows=8).nats_per_token  # @skip
print(f"ln V                              {math.log(V):.3f}")
print(f"at step 0                         {start:.3f}")
print(f"with an embedding 10 times larger {loud_start:.3f}")

# %% [markdown]
# ### The gradient of the embedding
#
# An embedding copies rows of a table. So its backward adds each gradient to the row that was copied, and a row that was
# copied twice receives the sum of both.

# %% [markdown] predict
# Token 1 occurs twice, and its two places receive the gradients [1, 2] and [10, 20]. Its row of `dwte` begins at zero.
# What does it hold after NumPy's `dwte[ids] += dout`?
#
# - [11, 22]
# - [10, 20]
# - [1, 2]
#
# <!-- answer: careless[1].astype(int).tolist() -->
#
# Indexed `+=` reads all rows, adds, and writes them back: of two writes to one row the last wins. `np.add.at` adds one
# by one, and gives [11, 22]. The mistake is silent, and the commoner a token, the more of its gradient is lost.
#
# The table of positions is simpler: its row is used once in each row of the batch, so its gradient is a sum over B.

# %% a token that occurs twice
ids = np.array([[1, 0, 1]])  # (B=1, T=3)
dout = np.array([[[1.0, 2.0], [5.0, 5.0], [10.0, 20.0]]])  # (B, T, C=2)
tokens, places = np.zeros((3, 2)), np.zeros((3, 2))  # (V=3, C), (n_ctx=3, C)
_, embedding_cache = reference.embedding_forward(ids, tokens, places)
dwte, dwpe = reference.embedding_backward(dout, embedding_cache)
careless = np.zeros((3, 2))
careless[ids] += dout
print("np.add.at:        ", dwte.tolist())
print("dwte[ids] += dout:", careless.tolist())

# %% [markdown] predict
# Our model's batch is now the single row `[5, 7, 5, 9]`. The head is tied to the embedding. How many of the 300 rows of
# the embedding's gradient are not zero?
#
# - 2
# - 3
# - 300
#
# <!-- answer: rows_tied -->
#
# As an input table only rows 5 and 7 are used (9 is only predicted). But as the output head the same table makes
# *every* logit, and the loss wants each wrong token a little less likely. The two gradients add up in one array.
# Untied, the input table gets its 2 rows alone.


# %% tied and untied
def rows_with_gradient(tied):
    small = GPT(replace(config, tied_head=tied), seed=0)
    _, cache = small.loss({"input_ids": [[5, 7, 5, 9]]})
    small.backward(cache)
    return int(small.params.g.wte.any(axis=1).sum())


rows_tied = rows_with_gradient(tied=True)  # @over
rows_untied = rows_with_gradient(tied=False)  # @over
print(f"rows with a gradient: tied {rows_tied}, untied {rows_untied}")

# %% [markdown]
# ## 5. Training
#
# What could a guesser reach that has only *counted* the training text? With nothing counted, ln V: *uniform*. With the
# frequency of each token: *unigram*. With which token follows which: *bigram*. With which follows which two: *trigram*.
# These entropies (Shannon 1951) are milestones for the loss. (The trigram table has V³ entries: it has memorised much
# of the text it was counted on, and would do far worse than its line on another.)

# %% the milestones
lines = entropy_lines(train_ids, V)  # @over
print(Bars(lines, title="Loss of a guesser that has counted", unit="nats per token"))

# %% [markdown]
# And here is the loop, whole: gradient to zero, forward, backward, update. The next lesson is about that update.

# %% [markdown] predict
# The loss on the *held-out* text starts at the uniform line and falls. Which is the last of the four that it will have
# passed after a thousand updates, each on 16 rows of 64 tokens?
#
# - uniform
# - unigram
# - bigram
# - trigram
#
# <!-- answer: passed[-1] -->
#
# Below unigram, it uses context at all; below bigram, more than one token of it. Look at the curve: the frequencies of
# tokens are learned in no time, pairs take longer, and everything beyond comes ever more slowly. (The curve of the text
# trained on is a mean over the updates since the last look, so at first it lags behind.)

# %% the loop
steps = 1000  # @short 60
warmup = look_every = steps // 20
model = GPT(config, seed=0)  # @over
optimizer = AdamW(model.params, model.ops)  # @over
batches = Batches(train_ids, config.n_ctx, rows_per_step=16, seed=0)  # @over
losses, updates, held_out = [], [0], [start]
for step in range(steps):  # @skip
    model.params.grad.fill(0)
    loss, cache = model.loss({"input_ids": batches.at(step)})
    model.backward(cache)
    lr = cosine_schedule(step, 0.01, warmup, steps)
    optimizer.step(lr, max_norm=1.0)
    losses.append(float(loss))
    if (step + 1) % look_every == 0:
        updates.append(step + 1)
        held_out.append(evaluate(model, val_ids, max_windows=32).nats_per_token)

passed = [name for name, value in lines.items() if held_out[-1] < value]
trained_on = [losses[0], *np.reshape(losses, (20, -1)).mean(1)]
curves = {"held out": held_out, "trained on": trained_on}
print(Curves(curves, updates, lines, xlabel="updates", ylabel="nats per token"))
for name, value in lines.items():  # @skip
    below = [step for step, loss in zip(updates, held_out) if loss < value]
    when = f"passed by update {below[0]}" if below else "not passed"
    print(f"{name:<9}{value:.3f}  {when}")
whole = evaluate(model, val_ids, len(val_text.encode()))  # @skip
print(f"\nwhole held-out text: {whole.nats_per_token:.3f} nats per token")
print(f"perplexity {whole.perplexity:.1f}")
print(f"{whole.bits_per_byte:.3f} bits per byte")

# %% [markdown]
# Perplexity is `exp(loss)`: between how many equally likely tokens the model hesitates. Both depend on the tokenizer
# (longer tokens are harder to guess, and there are fewer of them); *bits per byte* do not, and compare any two models.
#
# ## 6. Sampling
#
# The model gives a probability to each next token; what to do with it is our choice. *Temperature* τ divides the
# logits, `p_i ∝ exp(z_i / τ)`. Below 1 the likely become likelier, and towards 0 only the first remains: *greedy*.


# %% temperature
def next_probabilities(text, temperature=1.0):
    logits = model.next_logits([tokenizer.encode(text)], KVCache(model))[0]
    p = np.exp((logits.astype(float) - logits.max()) / temperature)
    return p / p.sum()


inside, start_of_line = "ROMEO.\nI wi", "ROMEO.\n"
top = np.argsort(-next_probabilities(inside))[:6]  # @over
temperatures = (0.5, 1.0, 2.0)
heated = np.array([next_probabilities(inside, t) for t in temperatures])  # @over
shown = np.column_stack([heated[:, top], 1 - heated[:, top].sum(1)])
rows = [f"τ = {temperature}" for temperature in temperatures]
cols = [*(tokenizer.decode([i]) for i in top), "all others"]  # @over
print(Heat(shown, rows, cols, title="What comes after “ROMEO. I wi”"))

# %% [markdown]
# The tail matters: hundreds of tokens, each unlikely and most of them wrong. *Top-k* keeps the k most likely (Fan et
# al. 2018), *top-p* the smallest set whose probability reaches p (nucleus sampling, Holtzman et al. 2020).

# %% [markdown] predict
# Where does top-p = 0.9 keep more tokens: after `ROMEO. I wi`, inside a word, or after `ROMEO.` and a new line?
#
# - inside a word
# - at the start of a line
#
# <!-- answer: max(kept, key=kept.get) -->
#
# At the start of a line almost anything may follow; inside a word few letters can. Top-p adapts. A fixed k is too small
# for the one or too large for the other.

# %% how many tokens top-p keeps
contexts = {"inside a word": inside, "at the start of a line": start_of_line}
kept = {}
for place, text in contexts.items():
    likely_first = np.sort(next_probabilities(text))[::-1]  # @over
    kept[place] = int((likely_first.cumsum() < 0.9).sum()) + 1
    print(f"{place}: {kept[place]} tokens hold 90% of the probability")

# %% three ways to speak
ways = {
    "greedy": {"temperature": 0},
    "temperature 0.8, top-p 0.95": {"temperature": 0.8, "top_p": 0.95},
    "temperature 0.8, top-k 10": {"temperature": 0.8, "top_k": 10},
    "temperature 2": {"temperature": 2.0},
}
prompt = tokenizer.encode(start_of_line)  # @over
for name, settings in ways.items():  # @skip
    said = list(generate(model, prompt, max_new_tokens=120, seed=1, **settings))
    print(f"--- {name}\n{tokenizer.decode(said)}\n")

# %% [markdown]
# Greedy goes round in circles: the likeliest continuation of a repetition is a repetition. Hot is noise, for the tail
# has the say. In between there are speakers, lines, and words that are almost English.
#
# ## 7. The cache
#
# To generate, the model is asked for one more token again and again. The keys and values of the old positions are the
# same each time: what they see is their own past, which does not change (that is the causal mask's doing). So keep
# them, and run the new position alone, its query against all keys. Old queries are never asked again; nobody keeps
# them.

# %% [markdown] predict
# A prompt of 6 tokens, then 40 new ones. Without a cache, each new token runs the whole text so far, so the blocks
# process 6 + 7 + … + 45 positions. How many do they process with a cache?
#
# - 40
# - 45
# - 1,020
#
# <!-- answer: f"{positions['cache']:,}" -->
#
# The prompt once, then one position per new token, of which the last is never run: 6 + 39. Without: 1,020.

# %% the same tokens, with and without
fast = model.ops
six = tokenizer.encode(start_of_line)[:6]  # @over
positions, spoken = {}, {}


def count_positions(place, op, function, args, kwargs):  # @over
    if op == "embedding_forward":
        positions[how] += args[0].size
    return function(*args, **kwargs)


for how, use_cache in {"cache": True, "no cache": False}.items():
    positions[how] = 0
    model.ops = WrappedOps(fast, count_positions)  # @over
    tokens = generate(model, six, max_new_tokens=40, use_cache=use_cache)  # @over
    spoken[how] = list(tokens)  # @over
model.ops = fast
print(Bars(positions, title="Positions run for 40 tokens after a prompt of 6"))
print("the same tokens:", spoken["cache"] == spoken["no cache"])

# %% [markdown]
# A cached step must equal the last row of a full forward. Two mistakes break that, and both *run*:
#
# - the new token's position starts at 0 again, instead of at the cache's length;
# - the causal mask is aligned with the wrong corner: query t is the (S − T + t)-th position, so a single new query sees
#   all S keys; aligned at the top left it sees only the first.
#
# The op table lets us plant each of them.


# %% two planted bugs
def from_zero(ids, wte, wpe, start=0):
    return fast.embedding_forward(ids, wte, wpe, 0)


def wrong_corner(q, k, v, **options):
    T = q.shape[1]
    return fast.attention_forward(q, k[:, :T], v[:, :T], **options)


def cached_error():
    """Largest difference of logits, 6 tokens and 1 more, cached and not."""
    seven = [*six, spoken["cache"][0]]
    full = model.next_logits([seven], KVCache(model))
    cache = KVCache(model)
    model.next_logits([seven[:6]], cache)
    return float(np.abs(model.next_logits([seven[6:]], cache) - full).max())


errors = {"right": cached_error()}  # @over
model.ops = fast.replace(embedding_forward=from_zero)  # @over
errors["position from 0"] = cached_error()  # @over
model.ops = fast.replace(attention_forward=wrong_corner)  # @over
errors["mask at the wrong corner"] = cached_error()  # @over
model.ops = fast
print(Bars(errors, title="Largest error of a logit"))

# %% [markdown]
# The price is memory: a key and a value of width C, per layer and token.

# %% what a cache holds
layers, rows, heads, places, width = KVCache(model).k.shape
print(f"our keys: {layers} layers, {rows} row, {heads} heads, ", end="")
print(f"{places} positions, width {width}; as many values")
big = PRESETS["gpt3"]
per_token = 2 * big.n_layer * big.n_embd * 2  # bytes, at 2 per number
print(f"GPT-3 at 2 bytes a number: {per_token / 1e6:.1f} MB per token, ", end="")
print(f"{per_token * big.n_ctx / 1e9:.1f} GB for {big.n_ctx:,} tokens")

# %% what this page claimed
assert mixing == ["blocks.0.attn", "blocks.1.attn"]
assert by_hand == sum(ours.values()) == model.params.size
assert abs(start - math.log(V)) < 0.1 < loud_start - math.log(V)
assert rows_tied == V and rows_untied == 2
assert dwte.tolist() == [[5, 5], [11, 22], [0, 0]]
assert "unigram" in passed and (steps < 1000 or passed[-1] == "bigram")
assert kept["inside a word"] < kept["at the start of a line"]
assert spoken["cache"] == spoken["no cache"]
assert positions == {"cache": 45, "no cache": sum(range(6, 46))}
assert errors.pop("right") < 1e-4  # float32, summed in another order
assert min(errors.values()) > 0.01

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start embedding`: repeated ids, positions with an offset, and the tied head.
# - `scratchgpt homework start kv_cache`: where a new key goes, what position it has, and which keys its query sees.
#
# `scratchgpt train` is this lesson at full size: the same loop with more threads, checkpoints, and a better tokenizer.
# One line of the loop went unexplained, `optimizer.step(...)`. The next lesson is about it, and about what plain
# gradient descent lacks.
