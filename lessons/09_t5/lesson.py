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
from scratchgpt.ops.reference import attention_forward, distance_buckets, position_bias_backward, position_bias_forward
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.sampling import generate_output

names = list("ABCDE")
n, n_prefix = 5, 3
encoder = np.ones((n, n), int)
decoder = np.tril(encoder)
prefix_lm = decoder.copy()
prefix_lm[:, :n_prefix] = 1
beside = np.hstack([encoder, decoder, prefix_lm])
heads = ["encoder: A", *names[1:], "decoder: A", *names[1:], "prefix LM: A", *names[1:]]
print(Heat(beside, rows=names, cols=heads, title="who sees whom"))

# %% [markdown]
# A mask needs no code of its own: a score of −∞ has a weight of exactly 0, so a mask is a bias that is added to the
# scores. With scores that are all equal, the library's attention gives each token the plain mean of what it sees.

# %% the same op, another bias
equal = np.zeros((1, n, 1, 2))  # (B=1, T, H=1, D): queries and keys that prefer nothing
weights = {}
for name, mask in {"decoder": decoder, "prefix LM": prefix_lm}.items():
    bias = np.where(mask, 0.0, -np.inf)[None, None]  # (1, 1, T, S)
    _, cache = attention_forward(equal, equal, equal, bias=bias, causal=False)
    weights[name] = cache[3][0, 0]
    print(Heat(weights[name], rows=names, cols=names, title=name))
_, cache = attention_forward(equal, equal, equal)  # causal=True, no bias
print("the decoder's weights are those of causal attention:", np.array_equal(weights["decoder"], cache[3][0, 0]))

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
tiny = T5(T5Config(vocab_size=12, n_ctx=16, n_layer=2, n_head=2, n_embd=8, head_width=4, n_inner=16, n_buckets=8,
                   max_distance=16), seed=0)  # @over # fmt: skip
read, said = [2, 3, 4], [5, 6]


def outputs(read, said):  # @over
    """What both stacks make of their tokens: 3 vectors of the encoder's, and the logits at the decoder's 2 places."""
    batch = {"input_ids": [read], "decoder_input_ids": [said]}
    return [*tiny.encode(batch)[0], *tiny.logits(batch)[0]]


before = outputs(read, said)
whole = np.zeros((n, n), int)
for j in range(n):
    tokens = read + said
    tokens[j] = 9  # another token in the place of the j-th
    after = outputs(tokens[:3], tokens[3:])  # @over
    whole[:, j] = [not np.array_equal(a, b) for a, b in zip(before, after)]
print(Heat(whole, rows=names, cols=names, title="T5: encoder A B C, decoder D E"))

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
text = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week"]
marks = ["<X>", "<Y>", "<Z>"]
vocabulary = text + marks
ids = list(range(len(text)))
sentinels = [len(text), len(text) + 1, len(text) + 2]


def spell(row):  # @over
    return " ".join(vocabulary[i] for i in row)


inputs, targets = hide_spans(ids, starts=[2, 8], lengths=[2, 1], sentinels=sentinels)
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
many = np.arange(1000, 900, -1)  # a hundred sentinels, as T5 has them: from the last of the vocabulary down
rows = rng.integers(0, 900, (50, 512))
pair = corrupt_spans(rows, rng, many)  # @over
single = corrupt_spans(rows[:, :400], rng, many, mean_span=1)  # @over
print(f"512 tokens: {pair.inputs.shape[1]} inputs, {pair.targets.shape[1]} targets")
print(f"400 tokens, every one with a sentinel: {single.inputs.shape[1]} inputs, {single.targets.shape[1]} targets")
restored = restore_spans(pair.inputs, pair.targets, many)  # @over
print("50 texts restored exactly:", np.array_equal(restored, rows))

# %% [markdown]
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
    """The bucket of a key at this distance from the query: below 0 is behind it."""
    return int(distance_buckets(np.array(distance), 32, both_ways, 128))


candidates = {"6 and 7 tokens behind": (-6, -7), "10 and 11 tokens behind": (-10, -11), "3 behind and 3 ahead": (-3, 3)}
distances = np.arange(-140, 141, 2)
in_encoder = [bucket(d) for d in distances]  # @skip
in_decoder = [bucket(d, both_ways=False) for d in distances]  # @skip
curves = {"encoder": in_encoder, "decoder": in_decoder}
print(Curves(curves, x=distances, title="The bucket of a distance", xlabel="key − query", ylabel="bucket"))

# %% [markdown]
# The decoder needs no buckets for keys ahead, which it cannot see; it has all 32 for those behind.
#
# One head's bias for six tokens, from a table of 8 numbers: along each diagonal the distance is the same, and so is the
# bias. Shift the text, and nothing changes.

# %% one head's bias
learned = rng.standard_normal((8, 1)).round(1)  # (buckets, H=1)
bias, bias_cache = position_bias_forward(learned, 6, 6, max_distance=16)  # (1, H, T, S)
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
_, causal_cache = position_bias_forward(learned, 6, 6, bidirectional=False, max_distance=16)
dscores = np.tril(np.ones((6, 6)))[None, None]  # the future has weight 0, and so gradient 0
dtable = position_bias_backward(dscores, causal_cache)
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
config = T5Config(vocab_size=26, n_ctx=24, n_layer=1, n_head=2, n_embd=32, head_width=16, n_inner=64, n_buckets=8,
                  max_distance=16, pad_id=PAD, start_id=PAD, eos_id=EOS)  # fmt: skip


def backwards(rng, B=32, length=None):
    """A batch: rows of different letters among a to j, and the same from the last to the first."""
    length = length or int(rng.integers(3, 9))
    rows = 2 + rng.permuted(np.tile(np.arange(10), (B, 1)), axis=1)[:, :length]
    end = np.full((B, 1), EOS)
    return {"input_ids": np.hstack([rows, end]), "labels": np.hstack([rows[:, ::-1], end])}


def train(draw, steps, lr):
    """A model trained on what `draw` draws, and its losses."""
    rng, model, losses = np.random.default_rng(0), T5(config, seed=0), []
    optimizer = AdamW(model.params, model.ops)
    for step in range(steps):
        model.params.grad.fill(0)
        loss, cache = model.loss(draw(rng))
        model.backward(cache)
        optimizer.step(cosine_schedule(step, lr, steps // 10, steps), max_norm=1.0)
        losses.append(float(loss))
    return model, losses


steps = 1000  # @short 700
model, losses = train(backwards, steps, lr=0.006)  # @over
smooth = np.reshape(losses, (50, -1)).mean(1)
updates = np.linspace(0, steps, 50)
print(Curves({"loss": smooth}, x=updates, xlabel="updates", ylabel="nats per token"))
test = backwards(np.random.default_rng(1), 500, length=6)
exact = (model.logits(test).argmax(-1) == test["labels"]).all(1)  # @over
print(f"rows of 6 said backwards without a mistake, of 500: {exact.mean():.1%}")

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
    """The logits of one row, and for each head the weights (T, S) of its cross-attention."""
    found, ops = [], model.ops

    def around(place, op, function, args, kwargs):
        result = function(*args, **kwargs)
        if op == "attention_forward" and place.endswith("cross"):
            found.extend(result[1][3][0])  # the reference op keeps its weights, (B, H, T, S)
        return result

    model.ops = WrappedOps(table("reference"), around)
    logits = model.logits(batch)[0]
    model.ops = ops
    return logits, found


row = np.array([[2, 3, 4, 5, 6, 7, EOS]])
batch = {"input_ids": row, "labels": np.append(row[:, -2::-1], [[EOS]], axis=1)}
logits, looks = watch(model, batch)  # @over
spelled = [*"abcdef", "end"]
says = ["says " + ("end" if i == EOS else letters[i - 2]) for i in logits.argmax(-1)]  # @over
for number, weights in enumerate(looks):
    print(Heat(weights, rows=says, cols=spelled, title=f"cross-attention, head {number}"))
centre = np.mean(looks, axis=0)[:-1] @ np.arange(7)  # for each letter said, the place looked at on average
drift = float(np.corrcoef(centre, np.arange(6))[0, 1])
moves = "it stays at the end, where the encoder has seen all"
if abs(drift) > 0.5:
    moves = f"it moves from the {'first input to the last' if drift > 0 else 'last input to the first'}"

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
decoder_ids = np.append([[PAD]], batch["labels"][:, :-1], axis=1)
order = [3, 0, 6, 2, 5, 1, 4]
straight, _ = model.stack_forward("decoder", decoder_ids, None, memory=memory)  # @over
shuffled, _ = model.stack_forward("decoder", decoder_ids, None, memory=memory[:, order])  # @over
print(f"largest difference of the decoder's output: {np.abs(shuffled - straight).max():.1e}")

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
mouth = [[PAD, letters.index("f") + 2, letters.index("c") + 2]]
logits = model.logits({"input_ids": row, "decoder_input_ids": mouth})[0, -1]  # @over
next_letter = ([*"-$", *letters] + 8 * ["-"])[logits.argmax()]
print("after f and c it says", next_letter)
lengths = range(2, 11)
share = {}
for length in lengths:  # @skip
    longer = backwards(np.random.default_rng(2), 300, length)
    share[length] = float((model.logits(longer).argmax(-1) == longer["labels"]).all(1).mean())
bars = {f"{length} letters": 100 * share[length] for length in lengths}  # @over
print(Bars(bars, title="Rows without a mistake (trained on 3 to 8 letters)", unit="%"))

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
of_encoder = [name for name in cut.params.names if name.startswith("encoder.")]
touched = sum(np.count_nonzero(cut.params.grad_of(name)) for name in of_encoder)  # @over
encoder_size = sum(cut.params[name].size for name in of_encoder)  # @over
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
    holes = corrupt_spans(rows, rng, blanks, EOS, rate=1 / 3, mean_span=2)
    return {"input_ids": holes.inputs, "labels": holes.targets}


filler, losses = train(hide, steps, lr=0.01)  # @over
smooth = np.reshape(losses, (50, -1)).mean(1)
print(Curves({"loss": smooth}, x=updates, xlabel="updates", ylabel="nats per token"))
symbols = ["start", "end", *letters, *(f"<{i}>" for i in range(8))]


def show(row):  # @over
    return " ".join(symbols[i] for i in row)


def fill(filler, left):  # @over
    """What the model says of one row of inputs, and the row with that in its blanks."""
    answer = list(generate_output(filler, left, temperature=0))
    return answer, fill_spans(left[:-1], answer, blanks.tolist())


holes = hide(np.random.default_rng(1), 100)  # @over
filled = []
for left, told in zip(holes["input_ids"].tolist(), holes["labels"].tolist()):  # @skip
    filled.append(fill(filler, left)[1] == fill_spans(left[:-1], told, blanks.tolist()))
one = filled.index(True)
left = holes["input_ids"][one].tolist()
answer, full = fill(filler, left)
print("reads: ", show(left))
print("says:  ", show(answer))
print("filled:", show(full))
print(f"filled in exactly, of 100 texts: {np.mean(filled):.0%}")

# %% where it looks
logits, looks = watch(filler, {name: batch[[one]] for name, batch in holes.items()})  # @over
says = ["says " + symbols[i] for i in logits.argmax(-1)]  # @over
for number, weights in enumerate(looks):
    print(Heat(weights, rows=says, cols=show(left).split(), title=f"cross-attention, head {number}"))

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
assert [bucket(-d) for d in range(8)] == list(range(8)) and bucket(-8) == bucket(-11) != bucket(-12)
assert dtable[:, 0].sum() == 21 and dtable[0, 0] == 6
assert exact.mean() > 0.9
assert moves == "it moves from the last input to the first"
assert np.allclose(shuffled, straight, atol=1e-4)  # float32, summed in another order
assert min(share[length] for length in range(3, 9)) > 0.9
assert touched == 0
assert np.mean(filled) > 0.5

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start t5_spans`: hide given spans, and fill in what a model says of them, which need not be
#   what it should have said.
# - `scratchgpt homework start span_decoding`: the other kind of span, an answer in a text: the best start and the best
#   end together, where each alone would be wrong.
