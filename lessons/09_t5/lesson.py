# %% [markdown]
# # T5 and the three masks
#
# *About 20 minutes. You need attention and its causal mask (lesson 3), and what a GPT is made of (lesson 5).*
#
# BERT reads a text from both sides and cannot write. A GPT writes and sees only what is behind it. T5 (Raffel et al.
# 2020) has one stack of each kind, an *encoder* that reads and a *decoder* that writes and looks at what was read. By
# the end you know what each of the three sees, can make and undo T5's training data, know how it tells near from far
# without a table of positions, and have watched a decoder look into an encoder.
#
# ## 1. Who sees whom
#
# All three are attention with another mask. In an *encoder* every token sees every token. In a *decoder* a token sees
# itself and what came before. A *prefix LM* is a decoder whose first tokens, the prefix, are given and not to be
# predicted, so that nothing is betrayed when they see each other whole. Rows ask, columns are seen.

# %% [markdown] predict
# Five tokens make 25 pairs, of which a decoder sees 15. How many does a prefix LM see whose prefix has three tokens?
#
# - 15
# - 18
# - 21
# - 25
#
# <!-- answer: int(prefix_lm.sum()) -->
#
# Only three pairs are new: in the prefix A may look ahead to B and C, and B to C. D and E see what they saw before.

# %% three masks beside each other
import numpy as np

from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.t5 import T5, T5Config
from scratchgpt.objectives import corrupt_spans, fill_spans, hide_spans, restore_spans
from scratchgpt.ops import WrappedOps, table
from scratchgpt.ops.reference import attention_forward, distance_buckets
from scratchgpt.ops.reference import position_bias_backward as bias_backward
from scratchgpt.ops.reference import position_bias_forward as bias_forward
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.sampling import generate_output

names = list("ABCDE")
n, n_prefix = 5, 3
encoder = np.ones((n, n), int)
decoder = np.tril(encoder)
prefix_lm = decoder.copy()
prefix_lm[:, :n_prefix] = 1
beside = np.hstack([encoder, decoder, prefix_lm])
cols = ["enc A", *names[1:], "dec A", *names[1:], "pre A", *names[1:]]
title = "encoder, decoder, prefix LM with the prefix A B C"
print(Heat(beside, rows=names, cols=cols, title=title))

# %% [markdown]
# A mask needs no code of its own: a score of −∞ has a weight of exactly 0, so a mask is a bias that is added to the
# scores. With scores that are all equal, the library's attention gives each token the plain mean of what it sees.

# %% the same op, another bias
equal = np.zeros((1, n, 1, 2))  # (B=1, T, H=1, D): nothing is preferred
weights = {}
for name, mask in {"decoder": decoder, "prefix LM": prefix_lm}.items():
    bias = np.where(mask, 0.0, -np.inf)[None, None]  # (1, 1, T, S)
    _, cache = attention_forward(equal, equal, equal, bias=bias, causal=False)
    weights[name] = cache[3][0, 0]
    print(Heat(weights[name], rows=names, cols=names, title=name))
_, cache = attention_forward(equal, equal, equal)  # causal=True, no bias
same = np.array_equal(weights["decoder"], cache[3][0, 0])
print("the decoder's weights are those of causal attention:", same)

# %% [markdown]
# Now T5, which has two stacks. The encoder reads A, B and C. The decoder reads D and E; each of its blocks looks at
# its own tokens, causally, and then, by *cross-attention*, at what the encoder made: queries come from the decoder,
# keys and values from the encoder's output (Vaswani et al. 2017, section 3.2.3). We ask a real T5 who sees whom, by
# changing one token at a time and looking which outputs move.

# %% [markdown] predict
# Put both stacks into one 5 by 5 picture. In how many cells does it differ from the mask of the prefix LM?
#
# - 0
# - 3
# - 6
#
# <!-- answer: int((whole != prefix_lm).sum()) -->
#
# It is the same picture. What differs is whose weights do the work: a prefix LM reads and writes with one stack, T5
# with two, and so has twice the parameters at about the same cost per token. In T5's own comparison, with the same
# objective, two stacks were better (Raffel et al. 2020, table 2: GLUE 83.28, against 81.82 for the prefix LM and 74.70
# for a decoder).

# %% who sees whom in a T5
small = {"n_head": 2, "n_buckets": 8, "max_distance": 16}
tiny = T5(T5Config(12, n_layer=2, n_embd=8, head_width=4, **small), seed=0)  # @over
read, said = [2, 3, 4], [5, 6]


def outputs(read, said):  # @over
    """The encoder's 3 vectors, and the logits at the decoder's 2 places."""
    batch = {"input_ids": [read], "decoder_input_ids": [said]}
    return [*tiny.encode(batch)[0], *tiny.logits(batch)[0]]


before = outputs(read, said)
whole = np.zeros((n, n), int)
for j in range(n):
    tokens = read + said
    tokens[j] = 9  # another token in the place of the j-th
    after = outputs(tokens[:3], tokens[3:])  # @over
    whole[:, j] = [not np.array_equal(a, b) for a, b in zip(before, after)]
title = "T5: encoder A B C, decoder D E"
print(Heat(whole, rows=names, cols=names, title=title))

# %% [markdown]
# Upper left the encoder, lower right the decoder, lower left cross-attention. The zeros at the upper right are why an
# input is read once: nothing the decoder says changes what the encoder made of it, so when generating, the keys and
# values of cross-attention are computed once and kept.
#
# ## 2. Hide and restore
#
# T5 is pretrained on *span corruption* (sections 3.1.4 and 3.3.4). Some spans of a text are hidden. In the inputs each
# becomes a single *sentinel*, a token of its own; the targets say, for each sentinel, what it hides, and one more
# sentinel says that this is all. Everything happens to the data; the model and its loss stay what they are.

# %% the lecture's sentence
first_half = ["Thank", "you", "for", "inviting", "me"]
text = [*first_half, "to", "your", "party", "last", "week"]
vocabulary = [*text, "<X>", "<Y>", "<Z>"]
ids = list(range(10))
sentinels = [10, 11, 12]


def spell(row):  # @over
    return " ".join(vocabulary[i] for i in row)


starts, lengths = [2, 8], [2, 1]
inputs, targets = hide_spans(ids, starts, lengths, sentinels)
print("inputs: ", spell(inputs))
print("targets:", spell(targets))
print("again:  ", spell(fill_spans(inputs, targets, sentinels)))

# %% [markdown]
# Nothing is lost: inputs and targets together hold each token once. Step into `hide_spans` and `fill_spans`; each is a
# loop of a few lines. `corrupt_spans` draws the spans: 15% of the tokens, 3 to a span on average.

# %% [markdown] predict
# A text of 512 tokens is corrupted like that. How many tokens are its targets?
#
# - 77
# - 104
# - 512
#
# <!-- answer: pair.targets.shape[1] -->
#
# 77 tokens are hidden, in 26 spans: 77, and 26 sentinels, and one at the end. The decoder does a fifth of the work that
# saying the whole text would be, and the encoder has less to read too. BERT reads all 512 to learn from as many.

# %% what is read and said
rng = np.random.default_rng(0)
many = np.arange(1000, 900, -1)  # a hundred sentinels; T5's go down, too
rows = rng.integers(0, 900, (50, 512))
pair = corrupt_spans(rows, rng, many)  # @over
single = corrupt_spans(rows, rng, many, mean_span=1)  # @over
for name, made in {"spans": pair, "single tokens": single}.items():
    (_, n_inputs), (_, n_targets) = made.inputs.shape, made.targets.shape
    print(f"{name}: 512 tokens become {n_inputs} inputs, {n_targets} targets")
restored = restore_spans(pair.inputs, pair.targets, many)  # @over
print("50 texts restored exactly:", np.array_equal(restored, rows))

# %% [markdown]
# Hiding single tokens would make both sides longer. Spans were chosen because training is faster with them, and no
# worse (section 3.3.4).
#
# ## 3. Near and far, without positions
#
# T5 adds no positions to its embeddings. Each head learns a number for each *distance* instead, which is added to its
# scores (section 2.1), and far distances share: there are 32 *buckets*. In the encoder half of them are for keys behind
# the query, half for keys ahead, because left and right mean different things. Of a half, 8 buckets have one distance
# each; the other 8 become wider, as the logarithm does, and the last one takes all from 128 on.

# %% [markdown] predict
# In the encoder, which of these two share a bucket?
#
# - 6 and 7 tokens behind
# - 10 and 11 tokens behind
# - 3 behind and 3 ahead
#
# <!-- answer: " / ".join(name for name, (a, b) in candidates.items() if bucket(a) == bucket(b)) -->
#
# Up to 7 each distance has a bucket of its own; 8 to 11 are together. Whether a word is 10 or 11 tokens away hardly
# ever matters; whether it is one or two does.


# %% the buckets
def bucket(distance, both_ways=True):
    """The bucket of a key at this distance; below 0 it is behind the query."""
    return int(distance_buckets(np.array(distance), 32, both_ways, 128))


candidates = {
    "6 and 7 tokens behind": (-6, -7),
    "10 and 11 tokens behind": (-10, -11),
    "3 behind and 3 ahead": (-3, 3),
}
distances = np.arange(-140, 141, 2)
in_encoder = [bucket(d) for d in distances]  # @skip
in_decoder = [bucket(d, both_ways=False) for d in distances]  # @skip
curves = {"encoder": in_encoder, "decoder": in_decoder}
axes = {"xlabel": "key − query", "ylabel": "bucket"}
print(Curves(curves, x=distances, title="The bucket of a distance", **axes))

# %% [markdown]
# The decoder needs no buckets for keys ahead, which it cannot see; it has all 32 for those behind.
#
# One head's bias for six tokens, from a table of 8 numbers: along each diagonal the distance is the same, and so is the
# bias. Shift the text, and nothing changes.

# %% one head's bias
learned = rng.standard_normal((8, 1)).round(1)  # (buckets, H=1)
bias, _ = bias_forward(learned, 6, 6, max_distance=16)  # (1, H, T, S)
print(Heat(bias[0, 0], title="bias of query (row) and key (column)"))

# %% [markdown] predict
# In a decoder of six tokens every score that may be seen has the gradient 1. What is the gradient of the number for
# distance 1?
#
# - 1
# - 5
# - 6
# - 15
#
# <!-- answer: int(dtable[1, 0]) -->
#
# The number was used wherever a token looked at the one before it, which five tokens can do. What is used several times
# gets the sum of the gradients: over places, over the rows of a batch, and over all blocks of a stack, for T5 makes
# this bias once and adds it in each of them.

# %% the gradient of a table of distances
options = {"bidirectional": False, "max_distance": 16}
_, bias_cache = bias_forward(learned, 6, 6, **options)
dscores = np.tril(np.ones((6, 6)))[None, None]  # none for the future
dtable = bias_backward(dscores, bias_cache)
received = {f"bucket {b}": float(dtable[b, 0]) for b in range(8)}  # @over
print(Bars(received, title="Gradient that each number receives"))

# %% [markdown]
# ## 4. A decoder that looks
#
# Cross-attention is best watched where it *must* align. The task: read three to eight different letters, say them
# backwards. The model: one block in each stack, two heads, 32 wide, and no positions but the biases of self-attention;
# cross-attention has none.


# %% backwards
letters, PAD, EOS = "abcdefghijklmnop", 0, 1  # their ids are 2 to 17
special = {"pad_id": PAD, "start_id": PAD, "eos_id": EOS}
shape = {"n_layer": 1, "n_embd": 32, "head_width": 16, "n_inner": 64}
config = T5Config(26, n_ctx=24, **shape, **small, **special)


def backwards(rng, B=32, length=None):
    """A batch: rows of different letters, a to j, and the same backwards."""
    length = length or int(rng.integers(3, 9))
    deck = np.tile(np.arange(2, 12), (B, 1))  # their ids
    rows, end = rng.permuted(deck, axis=1)[:, :length], np.full((B, 1), EOS)
    labels = np.hstack([rows[:, ::-1], end])
    return {"input_ids": np.hstack([rows, end]), "labels": labels}


def train(draw, steps, lr):
    """A model trained on what `draw` draws, and its losses."""
    rng, model, losses = np.random.default_rng(0), T5(config, seed=0), []
    optimizer = AdamW(model.params, model.ops)
    for step in range(steps):
        model.params.grad.fill(0)
        loss, cache = model.loss(draw(rng))
        model.backward(cache)
        lr_now = cosine_schedule(step, lr, steps // 10, steps)
        optimizer.step(lr_now, max_norm=1.0)
        losses.append(float(loss))
    return model, losses


steps = 1000  # @short 700
model, losses = train(backwards, steps, lr=0.006)  # @over
smooth = np.reshape(losses, (50, -1)).mean(1)
updates = np.linspace(0, steps, 50)
axes = {"xlabel": "updates", "ylabel": "nats per token"}
print(Curves({"loss": smooth}, updates, **axes))


def share_right(model, batch):  # @over
    """The share of rows in which the likeliest token is right everywhere."""
    return (model.logits(batch).argmax(-1) == batch["labels"]).all(1).mean()


test = backwards(np.random.default_rng(1), 500, length=6)  # @over
exact = float(share_right(model, test))
print(f"rows of 6 letters without a mistake: {exact:.1%} of 500")

# %% [markdown] predict
# The decoder says `f e d c b a` of the input `a b c d e f`. Row by row, down the picture of its cross-attention, where
# is the largest weight?
#
# - it moves from the first input to the last
# - it moves from the last input to the first
# - it stays at the end, where the encoder has seen all
#
# <!-- answer: moves -->
#
# To say `d` it looks at `d`, and takes the letter from there: a value can bring what the encoder's vector holds, and
# the letter is in it.


# %% where the decoder looks
def watch(model, batch):
    """The logits of one row, and each head's weights (T, S) between stacks."""
    found, ops = [], model.ops

    def around(place, op, function, args, kwargs):
        result = function(*args, **kwargs)
        if op == "attention_forward" and place.endswith("cross"):
            found.extend(result[1][3][0])  # of the cache: P, (B, H, T, S)
        return result

    model.ops = WrappedOps(table("reference"), around)
    logits = model.logits(batch)[0]
    model.ops = ops
    return logits, found


row = np.array([[2, 3, 4, 5, 6, 7, EOS]])
labels = np.array([[7, 6, 5, 4, 3, 2, EOS]])
batch = {"input_ids": row, "labels": labels}
logits, looks = watch(model, batch)  # @over
spelled = [*"abcdef", "end"]
symbols = ["start", "end", *letters, *(f"<{i}>" for i in range(8))]
says = [f"says {symbols[i]}" for i in logits.argmax(-1)]  # @over
for number, weights in enumerate(looks):
    title = f"cross-attention, head {number}"
    print(Heat(weights, rows=says, cols=spelled, title=title))
centre = np.mean(looks, axis=0)[:-1] @ np.arange(7)  # the place looked at
drift = float(np.corrcoef(centre, np.arange(6))[0, 1])
moves = "it stays at the end, where the encoder has seen all"
if drift > 0.5:
    moves = "it moves from the first input to the last"
elif drift < -0.5:
    moves = "it moves from the last input to the first"

# %% [markdown]
# How does it know where to look? Three experiments. First, take the encoder's seven output vectors and hand them to the
# decoder in another order.

# %% [markdown] predict
# What does the trained decoder then say?
#
# - the letters in that other order, backwards
# - the same as before
# - nothing sensible
#
# <!-- answer: "the same as before" if np.allclose(shuffled, straight, atol=1e-4) else "nothing sensible" -->
#
# To cross-attention the memory is a *set*: a sum over keys has no order. Where a letter stood is written into its
# vector by the encoder, or it is nowhere.

# %% a memory in another order
memory = model.encode(batch)  # @over
other = memory[:, [3, 0, 6, 2, 5, 1, 4]]
heard = np.array([[PAD, 7, 6, 5, 4, 3, 2]])  # what the decoder reads
straight, _ = model.stack_forward("decoder", heard, None, memory=memory)
shuffled, _ = model.stack_forward("decoder", heard, None, memory=other)  # @over
gap = float(np.abs(shuffled - straight).max())
print(f"largest difference of the decoder's output: {gap:.1e}")

# %% [markdown]
# So the vectors must say something of their place. Perhaps they count ("I am the fifth"), and the decoder counts what
# it has said. Perhaps they know their neighbour ("behind me stands e": self-attention can learn that, by the bias for
# distance 1), and the decoder, having said e, asks for the one with e behind it. Both would do. So, second, we put
# words into its mouth: it has said f, and we write c where it would have said e.

# %% [markdown] predict
# The input is `a b c d e f`; the decoder has said `f`, and believes that it has said `c`. What next?
#
# - d, the third from the end
# - b, which stands before c
# - neither
#
# <!-- answer: {"d": "d, the third from the end", "b": "b, which stands before c"}.get(next_letter, "neither") -->
#
# A counter would say d; a model that goes from neighbour to neighbour says b. Which of the two is learned depends on
# what is shown: let `backwards` draw 6 letters always, run the page again, and look at the bars below.

# %% words in its mouth
mouth = [[PAD, symbols.index("f"), symbols.index("c")]]
asked = {"input_ids": row, "decoder_input_ids": mouth}
next_letter = symbols[model.logits(asked)[0, -1].argmax()]  # @over
print("after f and c it says", next_letter)
share = {}
for length in range(2, 11):  # @skip
    batch = backwards(np.random.default_rng(2), 300, length)
    share[length] = 100 * float(share_right(model, batch))
bars = {f"{length} letters": value for length, value in share.items()}  # @over
title = "Rows without a mistake (trained on 3 to 8 letters)"
print(Bars(bars, title=title, unit="%"))

# %% [markdown]
# Neighbours are neighbours at any length: the model goes on beyond what it has seen. Were positions a table of vectors,
# the entries for places that never occurred would still be what they were drawn as.

# %% [markdown] predict
# Third, cut the line: set the output weights of cross-attention to zero, and run one step of training. How many of the
# encoder's weights have a gradient?
#
# - all
# - those of its feed-forward
# - none
#
# <!-- answer: {0: "none", encoder_size: "all"}.get(touched, "those of its feed-forward") -->
#
# No loss is computed in the encoder. Everything it learns, it learns through cross-attention, from what the decoder
# wished it had known.

# %% the line is cut
cut = T5(config, seed=0)  # @over
cut.params["decoder.blocks.0.cross.out.weight"][...] = 0
_, cache = cut.loss(test)  # @over
cut.backward(cache)  # @over
names_of_encoder = [name for name in cut.params.names if "encoder." in name]
gradients = [cut.params.grad_of(name) for name in names_of_encoder]  # @over
touched = sum(int(np.count_nonzero(g)) for g in gradients)  # @over
encoder_size = sum(g.size for g in gradients)  # @over
print(f"{touched} of the encoder's {encoder_size:,} weights have a gradient")

# %% [markdown]
# ## 5. The objective at work
#
# Now T5's own task, in small. A text is 12 letters of the alphabet from a to p in order, from a random place and round
# the corner (`o p a b ...`); a third of it is hidden, in spans of 2 on average. There are only 16 texts, so the model
# can learn them by heart; what is new every time is what is hidden. To fill a blank it must look at the letters beside
# it, and know where to stop.

# %% fill in the blanks
blanks = np.arange(18, 26)  # eight sentinels, above the letters


def hide(rng, B=32):
    """A batch of texts with holes."""
    rows = 2 + (rng.integers(0, 16, (B, 1)) + np.arange(12)) % 16
    holes = corrupt_spans(rows, rng, blanks, EOS, 1 / 3, mean_span=2)
    return {"input_ids": holes.inputs, "labels": holes.targets}


filler, losses = train(hide, steps, lr=0.01)  # @over
smooth = np.reshape(losses, (50, -1)).mean(1)
print(Curves({"loss": smooth}, updates, **axes))


def show(row):  # @over
    return " ".join(symbols[i] for i in row)


def fill(left):
    """What the model says of one row of inputs, and the row filled in."""
    answer = list(generate_output(filler, left, temperature=0))  # @over
    return answer, fill_spans(left[:-1], answer, blanks.tolist())


holes = hide(np.random.default_rng(1), 100)  # @over
exactly = []
for left, told in zip(*(rows.tolist() for rows in holes.values())):  # @skip
    whole_text = fill_spans(left[:-1], told, blanks.tolist())
    exactly.append(fill(left)[1] == whole_text)
one = exactly.index(True)
left = holes["input_ids"][one].tolist()
answer, filled = fill(left)
print("reads: ", show(left))
print("says:  ", show(answer))
print("filled:", show(filled))
print(f"filled in exactly: {np.mean(exactly):.0%} of 100 texts")

# %% where it looks
first = {name: rows[[one]] for name, rows in holes.items()}
logits, looks = watch(filler, first)  # @over
says = [f"says {symbols[i]}" for i in logits.argmax(-1)]  # @over
for number, weights in enumerate(looks):
    title = f"cross-attention, head {number}"
    print(Heat(weights, rows=says, cols=show(left).split(), title=title))

# %% [markdown]
# Some rows look where you would look, at a blank or at the letter beside it; others elsewhere, and one cannot say why:
# an encoder's vector holds more than its own token, the heads and the decoder's own attention share the work, and
# nothing asked for a picture that can be read. A picture of weights is a hint; what settles a question is an
# experiment, such as the three above.
#
# `scratchgpt train --model t5` runs this objective on real text, and `scratchgpt generate` lets the model fill in the
# blanks of yours.

# %% what this page claimed
assert (encoder.sum(), decoder.sum(), prefix_lm.sum()) == (25, 15, 18)
assert np.array_equal(whole, prefix_lm)
assert fill_spans(inputs, targets, sentinels) == ids
assert pair.inputs.shape[1] + pair.targets.shape[1] == 512 + 2 * 26 + 1
assert np.array_equal(restored, rows)
assert [bucket(-d) for d in range(8)] == list(range(8))  # @over
assert bucket(-8) == bucket(-11) != bucket(-12)  # @over
assert dtable[:, 0].sum() == 21 and dtable[0, 0] == 6
assert exact > 0.9
assert moves == "it moves from the last input to the first"
assert np.allclose(shuffled, straight, atol=1e-4)  # float32, another order
assert min(share[length] for length in range(3, 9)) > 90
assert touched == 0
assert np.mean(exactly) > 0.5

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start t5_spans`: hide given spans, and fill in what a model says of them, which need not be
#   what it should have said.
# - `scratchgpt homework start span_decoding`: the other kind of span, an answer in a text: the best start and the best
#   end together, where each alone would be wrong.
