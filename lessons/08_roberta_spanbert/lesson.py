# %% [markdown]
# # RoBERTa and SpanBERT: what to hide
#
# *About 15 minutes. You need BERT's masks and its loss (lesson 7).*
#
# BERT left questions open. RoBERTa (Liu et al. 2019) asked which of its choices mattered: it drew new masks each time a
# text was read, dropped next sentences, and trained longer on more. SpanBERT (Joshi et al. 2020) hid whole spans of
# words instead of single tokens. Here the three ways to mask meet on equal terms: the same model, the same text, the
# same number of updates.
#
# By the end you can say when static masks do harm and when they do not, draw spans as SpanBERT does, and say what the
# span boundary objective can and cannot see.
#
# ## 1. Full sentences
#
# A small part of the plays, so that we can read it many times over. RoBERTa has no pairs: a row is filled with as many
# sentences as fit.

# %% rows of full sentences
import numpy as np

from scratchgpt import AdamW
from scratchgpt.data import load_text
from scratchgpt.data.masked import encoded, flat, guessers
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.bert import BERT, BERTConfig, SpanBERTConfig, span_targets
from scratchgpt.objectives import Vocabulary, dynamic_masks, full_sentences, mask_spans
from scratchgpt.objectives.spanbert import LENGTHS
from scratchgpt.optim import cosine_schedule
from scratchgpt.tokenizers import WordPieceTokenizer

V, T = 300, 32
text = load_text("plays")  # @over
first = text.index("\n", 20_000) + 1  # a line begins
last = first + 20_000
train_text, val_text = text[first:last], text[last : last + 40_000]
tokenizer = WordPieceTokenizer.train(train_text, V)  # @over
vocabulary = Vocabulary.of(tokenizer)  # @over
train_docs = encoded(train_text, tokenizer)  # @over
val_docs = encoded(val_text, tokenizer)  # @over
rows = full_sentences(train_docs, vocabulary, T).input_ids  # @over
held_out = full_sentences(val_docs, vocabulary, T).input_ids[:300]  # @over
print(len(rows), "rows to train on; the first:")
print(tokenizer.decode(rows[0]))

# %% [markdown]
# ## 2. Masks by epoch
#
# BERT's data were written to files, masks included: *static*. Its authors wrote each text ten times with different
# masks, so over 40 epochs a row was seen with each mask four times. RoBERTa's *dynamic* masks are drawn when a row is
# read. In this library a mask is a pure function of (seed, epoch, row), so that dynamic masks can be resumed as well.
# Step into `dynamic_masks`.

# %% [markdown] predict
# One static mask per row, 25 epochs. How many of the tokens is the model *never* asked for?
#
# - none
# - 15%
# - half
# - 85%
#
# <!-- answer: f"{5 * round(never['static, 1 mask'] / 5)}%" -->
#
# The same 15% are asked for again and again. The other 85% are read, but nothing is learned about them as targets.
# With ten masks that take turns `0.85¹⁰` remain, with new ones each time `0.85²⁵`.

# %% who is asked for
EPOCHS = 25
kinds = {"static, 1 mask": 1, "static, 10 masks": 10, "dynamic": None}
numbers = np.arange(len(rows))
two = dynamic_masks(rows[:2], numbers[:2], vocabulary, seed=0, epoch=0)
never, distinct = {}, {}
for kind, masks in kinds.items():  # @skip
    asked = []
    for epoch in range(EPOCHS):
        masked = dynamic_masks(rows, numbers, vocabulary, 0, epoch, masks)
        asked.append(masked.labels != -100)
    ordinary = ~vocabulary.is_special(rows)
    never[kind] = round(100 * float((~np.any(asked, 0))[ordinary].mean()), 2)
    distinct[kind] = len({where[0].tobytes() for where in asked})
print(Bars(distinct, title=f"Different masks of the first row in {EPOCHS} epochs"))
print(Bars(never, title="Tokens that are never asked for", unit="%"))

# %% [markdown]
# ## 3. Spans
#
# A single hidden token can often be told from its neighbours: to see that `An ##ton [MASK]` goes on with `##io` takes
# no understanding. SpanBERT hides spans of whole words. The length of a span, in words, is geometric: after each word
# it ends with p = 0.2. Longer than 10 is drawn again.

# %% [markdown] predict
# A geometric length with p = 0.2 has the mean 1/p = 5. What is the mean with at most 10 words?
#
# - 5
# - about 4.4
# - about 3.8
#
# <!-- answer: f"about {float(mean_length):.1f}" -->
#
# The tail beyond 10 has a tenth of the probability, but much of the mean. Both figures below say so: the exact mean of
# the distribution, and that of the spans that were drawn.

# %% lengths
ONE = Vocabulary(1000, (0, 1), cls=0, sep=0, mask=1)  # every token is a word
long_rows = np.random.default_rng(0).integers(2, 1000, (300, 402))
long_rows[:, [0, -1]] = ONE.cls
each_begins = np.ones(long_rows.shape, bool)
drawn = mask_spans(long_rows, each_begins, ONE, np.random.default_rng(1))  # @over
edges = np.diff((drawn.labels != -100).astype(int), axis=1)
(_, begins), (_, ends) = np.nonzero(edges == 1), np.nonzero(edges == -1)
lengths = ends - begins  # row by row: a span's end after its beginning
mean_length = (LENGTHS * np.arange(1, 11)).sum()
share = np.bincount(lengths, minlength=11)[1:] / len(lengths)
both = 100 * np.vstack([LENGTHS, share])
heads = [f"{n}" for n in range(1, 11)]
print(Heat(both, ["geometric, cut", "drawn"], heads, title="% of spans by words"))
print(f"mean: {mean_length:.3f}; of {len(lengths):,} spans drawn: {lengths.mean():.3f}")
print(f"masked: {(drawn.labels != -100).mean():.1%} of all tokens")

# %% [markdown]
# Whether a span becomes `[MASK]`s, random tokens or stays (80/10/10) is decided once for the span. No two spans touch,
# so both neighbours of a span are in sight. On the plays:

# %% spans of words
starts = tokenizer.word_starts(rows)  # @over
one = mask_spans(rows[:3], starts[:3], vocabulary, np.random.default_rng(4))
for n in range(3):  # @skip
    reads = one.input_ids[n][one.input_ids[n] != vocabulary.pad]
    hidden = one.labels[n][one.labels[n] != -100]
    print(" ".join(tokenizer.tokens(reads)))
    print(f"    to say: {' '.join(tokenizer.tokens(hidden))}\n")

# %% [markdown]
# ## 4. From the edges
#
# SpanBERT's second objective: predict each token of a span from the two tokens *beside* the span and its place in it,
# `h = f(x_left, x_right, place)` (section 3.2). The loss is added to that of the masked tokens. So the edges of a span
# learn to stand for it, which is what a model needs that answers questions with spans of a text.

# %% [markdown] predict
# A row of 10 tokens; the span at places 4, 5 and 6 is hidden. Which vectors of the last block get a gradient from the
# boundary objective?
#
# - 4, 5 and 6
# - 3 and 7
# - 3 to 7
#
# <!-- answer: {(3, 7): "3 and 7", (4, 5, 6): "4, 5 and 6"}.get(tuple(reached), "3 to 7") -->
#
# The span's own vectors take no part; that is the point. (Below the last block they do: attention mixes them into their
# neighbours.)

# %% a span and its edges
labels = np.full((1, 10), -100)
labels[0, 4:7] = [11, 12, 13]
targets, left, right, place = span_targets(labels, n_span=20)
print("targets at", targets, "left", left, "right", right, "place", place)
sizes = {"n_ctx": T, "n_layer": 1, "n_head": 2, "n_embd": 16, "span_width": 8}
spans = BERT(SpanBERTConfig(V, **sizes), seed=0)  # @over
vectors = np.random.default_rng(0).standard_normal((1, 10, 16), np.float32)
loss, cache = spans.span_forward(vectors, labels, scale=1 / 3)
dx = np.zeros_like(vectors)
spans.span_backward(dx, 1.0, cache, spans.params.g)
reached = np.flatnonzero(dx[0].any(1)).tolist()
print("gradient at the places", reached)

# %% [markdown]
# ## 5. At equal steps
#
# One block of width 48, 600 updates of 16 rows: 25 epochs over our small text. Every model begins with the same
# weights. The first loss is measured on single masked tokens of text that none has seen, always the same.

# %% [markdown] predict
# The model with *one* static mask per row: how does its loss on held-out text end?
#
# - below that of dynamic masks: it practised most
# - about the same
# - far above, worse than ln V, which takes no knowledge at all
#
# <!-- answer: ending -->
#
# It learns the answers by heart. The loss on what it trains on falls towards 0, and it becomes sure of wrong things:
# ln V is what a model reaches that is not sure of anything. With ten masks the harm is gone: 25 epochs are only two and
# a half with each mask. RoBERTa's authors found the same: dynamic masks were about as good as BERT's ten, or slightly
# better (their Table 1). They matter the more, the longer one trains on the same text.

# %% five runs
steps = 600  # @short 75
test = dynamic_masks(held_out, np.arange(len(held_out)), vocabulary, 99, 0)  # @over
held_starts = tokenizer.word_starts(held_out)  # @over
rng = np.random.default_rng(5)
span_test = mask_spans(held_out, held_starts, vocabulary, rng)  # @over
counts = np.bincount(flat(train_docs)[0], minlength=V)  # @over
lines = guessers(counts, vocabulary, test.input_ids, test.labels)  # @over
per_epoch = len(rows) // 16


def batch_of(masked):  # @over
    return {"input_ids": masked.input_ids, "labels": masked.labels}


def batch(kind, step):  # @over
    """What the model reads at an update: the same rows for every kind."""
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([7, epoch]).permutation(len(rows))
    chosen = order[16 * place : 16 * place + 16]
    if kind == "spans":
        rng = np.random.default_rng([8, step])
        return batch_of(mask_spans(rows[chosen], starts[chosen], vocabulary, rng))
    masked = dynamic_masks(rows[chosen], chosen, vocabulary, 0, epoch, kinds.get(kind))
    return batch_of(masked)


def train(kind, seed=0):  # @over
    """(losses on tokens, on spans, on what it trains on), 13 of each, and the updates."""
    config = BERTConfig(V, n_ctx=T, n_layer=1, n_head=4, n_embd=48, nsp=False)
    model = BERT(config, seed=seed)
    optimizer = AdamW(model.params, model.ops)
    looks, own = [], []
    for step in range(steps + 1):
        if step % max(1, steps // 12) == 0:
            sets = (batch_of(test), batch_of(span_test), batch(kind, step))
            said = [float(model.loss(each)[0]) for each in sets]
            looks.append([*said[:2], np.mean(own or said[2])])
            own = []
        if step == steps:
            break
        model.params.grad.fill(0)
        loss, cache = model.loss(batch(kind, step))
        model.backward(cache)
        lr = cosine_schedule(step, 0.004, steps // 10, steps)
        optimizer.step(lr, max_norm=1.0)
        own.append(float(loss))
    return np.array(looks).T


runs = {kind: train(kind) for kind in [*kinds, "spans"]}  # @skip
other_seed = train("dynamic", seed=1)  # @skip
updates = np.linspace(0, steps, len(other_seed[0]))
tokens = {kind: run[0] for kind, run in runs.items()}
title = "Loss of masked tokens, held out"
print(Curves(tokens, updates, lines, title, "updates", "nats per token"))
for kind, run in runs.items():  # @skip
    print(f"{kind:<18}trained on {run[2][-1]:.2f}   held out {run[0][-1]:.3f}")
ended = other_seed[0][-1]
print(f"dynamic, seed 1   trained on {other_seed[2][-1]:.2f}   held out {ended:.3f}")
static, dynamic = runs["static, 1 mask"][0][-1], runs["dynamic"][0][-1]
ending = "about the same"
if static > lines["uniform"]:
    ending = "far above, worse than ln V, which takes no knowledge at all"
elif static < dynamic - 0.1:
    ending = "below that of dynamic masks: it practised most"

# %% [markdown]
# ### And spans?
#
# The loss of spans on their *training* text cannot be compared with the others': their questions are other questions.
# So all models answer both kinds, on held-out text.

# %% tokens and spans
names = ["static, 10 masks", "dynamic", "spans"]
ends = [[runs[name][0][-1], runs[name][1][-1]] for name in names]
ends.append([other_seed[0][-1], other_seed[1][-1]])
labelled = [*names, "dynamic, seed 1"]
print(Heat(ends, labelled, ["tokens", "spans"], title="held out"))
on_spans = {name: runs[name][1] for name in names}
title = "Loss of masked spans, held out"
print(Curves(on_spans, updates, title=title, xlabel="updates", ylabel="nats per token"))
noise = abs(runs["dynamic"][0][-1] - other_seed[0][-1])
gain = runs["dynamic"][1][-1] - runs["spans"][1][-1]
print(f"another seed changes the loss of tokens by {noise:.3f}")
print(f"spans gain {gain:.3f} on spans")

# %% [markdown]
# Read these differences beside what a mere change of seed does: that is as much. At this size a few hundredths of a nat
# are nothing. What SpanBERT gained lay elsewhere: on tasks that ask for spans, after finetuning a large model (Joshi
# et al. 2020, section 5). We have not shown that. What we have shown is the harm of too few masks, because it is large.
#
# ## 6. What mattered most
#
# RoBERTa's authors then trained longer, on more. Their figures (Liu et al. 2019, Table 4; BERT-large as they give it):

# %% figures from the paper
tasks = ["SQuAD 1.1 F1", "SQuAD 2.0 F1", "MNLI-m", "SST-2"]
quoted = {
    "BERT-large, 13 GB": [90.9, 81.8, 86.6, 93.7],
    "RoBERTa, 16 GB, 100K steps": [93.6, 87.3, 89.0, 95.3],
    "RoBERTa, 160 GB, 500K steps": [94.6, 89.4, 90.2, 96.4],
}
figures = np.array(list(quoted.values()))
print(Heat(figures, list(quoted), tasks, title="Liu et al. 2019, Table 4"))
steps_up = np.diff(figures, axis=0).mean(1)
print(f"mean gain of the recipe: {steps_up[0]:.2f} points; ", end="")
print(f"of data and time: {steps_up[1]:.2f}")

# %% [markdown]
# The recipe, on hardly more data than BERT's (dynamic masks, full sentences, no next sentences, batches of 8,000 rows),
# made the larger part of the difference; ten times the data and five times the steps added the rest.

# %% what this page claimed
assert distinct == {"static, 1 mask": 1, "static, 10 masks": 10, "dynamic": 25}
assert abs(never["static, 1 mask"] - 85) < 1.5 and never["dynamic"] < 4
assert abs(mean_length - 3.8) < 0.01 and abs(lengths.mean() - mean_length) < 0.15
assert abs((drawn.labels != -100).mean() - 0.15) < 0.005
assert (targets.tolist(), place.tolist()) == ([4, 5, 6], [0, 1, 2]) and reached == [3, 7]
assert steps < 600 or static > lines["uniform"] > lines["unigram"] > dynamic
assert steps < 600 or abs(runs["static, 10 masks"][0][-1] - dynamic) < 0.1
assert abs(runs["static, 10 masks"][2][-1] - runs["dynamic"][2][-1]) < 0.5
assert steps_up[0] > steps_up[1] > 0

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start mlm_batch`: the batch that all of these train on, and how its random draws are used.
# - `scratchgpt homework start span_decoding`: the best span of an answer, whose start is not after its end.
#
# `scratchgpt train --model roberta` and `--model spanbert` train both.
